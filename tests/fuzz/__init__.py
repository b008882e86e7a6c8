"""Foreign bytes against every parser: a clean error or a right answer, nothing else, in bounded memory and time.

`targets/` has one function a parser, which raises only for a bug. pytest runs them on `corpus/` and on what Hypothesis
makes of it; `scripts/fuzz` runs them with atheris, guided by coverage.
"""
