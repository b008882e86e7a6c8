"""A job's report: one file for those who have to file what was done, and who will not run Galaxy to read it.

facts.py      what the ledger, the store and this machine say, and the verdicts recomputed
parts.py      its commits, participants and events, as rows and texts
words.py      terms and events in words, amounts and times
curves.py     curves as SVG
page.py       the file
"""
