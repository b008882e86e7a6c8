"""Job documents: one form of each, and a clean error for everything else."""

from __future__ import annotations

import hashlib
import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from galaxy_fl.content import ContentId
from galaxy_fl.exceptions import JobDocumentError
from galaxy_fl.jobs.document import MAX_BYTES, BuiltinModel, JobDocument, RuleChoice, SourceModel, source_id
from galaxy_fl.jobs.specification import TrainSpecification

LAYOUT = [{"name": "weight", "shape": [10, 15], "fraction_bits": 24}]
DOCUMENT = JobDocument(name="digits", model=BuiltinModel(builtin="mlp"), layout=LAYOUT)
VALUE = json.loads(DOCUMENT.to_bytes())


def changed(*path, to):
    value = json.loads(DOCUMENT.to_bytes())
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return rfc8785.dumps(value)


def test_it_is_canonical_json():
    content = DOCUMENT.to_bytes()
    assert content == rfc8785.dumps(json.loads(content))
    assert JobDocument.from_bytes(content) == DOCUMENT
    assert b"notes" not in content


def test_its_digest_is_of_its_bytes_also_where_it_is_a_changed_copy():
    changed = DOCUMENT.model_copy(update={"name": "letters"})
    for document in (DOCUMENT, changed, changed.model_copy(update={"name": "digits"})):
        assert document.digest == document.digest == hashlib.sha256(document.to_bytes()).hexdigest()
    assert changed.model_copy(update={"name": "digits"}) == DOCUMENT
    assert "digest" not in DOCUMENT.model_dump()


names = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp", "Cf", "Co", "Cn", "Zs")), min_size=1, max_size=30
)
options = st.dictionaries(
    st.text(max_size=10),
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=10)
    | st.floats(allow_nan=False, allow_infinity=False),
    max_size=3,
)  # fmt: skip


@given(
    st.builds(
        JobDocument,
        name=names,
        notes=st.none() | st.text(max_size=50),
        model=st.builds(BuiltinModel, builtin=names, options=options)
        | st.builds(
            SourceModel,
            source=st.binary().map(source_id),
            class_name=st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True),
        ),
        weighting=st.sampled_from(["samples", "uniform"]),
        layout=st.just(LAYOUT),
        train=st.builds(
            TrainSpecification,
            learning_rate=st.floats(min_value=1e-300, max_value=1e300),
            optimizer_options=options.filter(lambda found: "lr" not in found),
            seed=st.integers(0, 2**53 - 1),
        ),
        rule=st.builds(RuleChoice, parameters=st.integers(0, 2**53 - 1)),
    )
)
def test_what_is_written_can_be_read(document):
    read = JobDocument.from_bytes(document.to_bytes())
    assert read == document
    assert read.to_bytes() == document.to_bytes()


@pytest.mark.parametrize("rate", [1.0, 1e16, 1e17, 1e20, 1e21, 1e30, 123456789012345678.0, 1e-7])
def test_numbers_are_doubles_however_they_are_written(rate):
    document = DOCUMENT.model_copy(update={"train": TrainSpecification(learning_rate=rate)})
    assert JobDocument.from_bytes(document.to_bytes()).train.learning_rate == rate


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes_are_a_document_or_a_clean_error(content):
    with pytest.raises(JobDocumentError):
        JobDocument.from_bytes(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(VALUE)), json_values, st.booleans())
def test_any_value_in_any_field_is_a_document_or_a_clean_error(field, value, escaped):
    content = json.dumps(VALUE | {field: value}, sort_keys=True, separators=(",", ":"), ensure_ascii=escaped)
    try:
        document = JobDocument.from_bytes(content.encode(errors="surrogatepass"))
    except JobDocumentError:
        return
    assert document.to_bytes() == content.encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Invalid JSON"),
        (b"\xff", "not valid"),
        (b"[]", "not valid"),
        (b"null", "not valid"),
        (b"[" * 200_000, "recursion limit"),
        (b'{"a":' * 50_000, "recursion limit"),
        (DOCUMENT.to_bytes().replace(b'"version":1', b'"version":1,"version":1'), "each key once"),
        (DOCUMENT.to_bytes().replace(b"0.01", b"NaN"), "train.learning_rate"),
        (DOCUMENT.to_bytes().replace(b"0.01", b"Infinity"), "train.learning_rate"),
        (b'{"name":' + b"1" * 5000 + b"}", "not valid"),
        (b'{"name":' + b"1" * 400 + b"}", "not valid"),
        (b"x" * (MAX_BYTES + 1), f"at most {MAX_BYTES} bytes, this one {MAX_BYTES + 1}"),
        (json.dumps(VALUE).encode(), "not the canonical JSON"),
        (changed("rule", to={}), "defaults included"),
        (changed("notes", to=None), "not the canonical JSON"),
        (changed("layout", to=[{"name": "weight", "shape": [150]}]), "defaults included"),
        (
            changed("layout", 0, "shape", to=[2**53 - 1, 9]).replace(b",9]", b",9007199254740993]"),
            "at most .* elements",
        ),
        (DOCUMENT.to_bytes() + b"\n", "not the canonical JSON"),
        (DOCUMENT.to_bytes().replace(b"0.01", b"0.010"), "not the canonical JSON"),
        (DOCUMENT.to_bytes().replace(b'"seed":0', b'"seed":-0'), "not the canonical JSON"),
        (DOCUMENT.to_bytes().replace(b"digits", b"digi\\u0074s"), "not the canonical JSON"),
        (DOCUMENT.to_bytes().replace(b"0.01", b"9007199254740993"), "not the canonical JSON"),
        (changed("colour", to="red"), "colour: there is no such key"),
        (changed("train", "colour", to="red"), "train.colour: there is no such key"),
        (changed("version", to=2), "version: Input should be 1"),
        (changed("name", to=""), "name: .*at least 1 character"),
        (changed("name", to="a\nb"), "leave out line breaks"),
        (changed("name", to="\x1b[31mred"), "control characters"),
        (changed("rule", "name", to="best"), "there is no rule 'best': choose one of"),
        (changed("rule", "parameters", to=-1), "rule.parameters: .*greater than or equal to 0"),
        (changed("reveal", to="never"), "reveal"),
        (changed("seal", to="nobody"), "seal"),
        (changed("layout", to=[]), "the layout is empty"),
        (changed("layout", to=[{"name": "x"}]), "layout entry 0 lacks shape"),
        (changed("layout", 0, "shape", to=["x"]), "layout: .*expected whole numbers"),
        (changed("train", "batch_size", to="8"), "train.batch_size: .*valid integer.*found '8'"),
        (changed("train", "batch_size", to=True), "train.batch_size"),
        (changed("train", "optimizer_options", to={"lr": 1}), "set learning_rate instead"),
    ],
)
def test_what_is_wrong_is_named(content, said):
    with pytest.raises(JobDocumentError, match=said) as caught:
        JobDocument.from_bytes(content)
    assert caught.value.exit_code == 3
    assert len(str(caught.value)) < 2_000


def test_every_wrong_field_is_named_at_once():
    with pytest.raises(JobDocumentError, match=r"colour.*; .*version|version.*; .*colour"):
        JobDocument.from_bytes(rfc8785.dumps(VALUE | {"version": 7, "colour": "red"}))


def test_a_document_that_fits_no_block_is_refused_where_it_is_written():
    long = [{"name": f"{number:>01000}", "shape": [1], "fraction_bits": 24} for number in range(300)]
    with pytest.raises(JobDocumentError, match="at most 262144 fit a block: shorten"):
        DOCUMENT.model_copy(update={"layout": long}).to_bytes()


def test_a_document_can_not_be_changed():
    with pytest.raises(ValidationError):
        DOCUMENT.name = "other"


def test_the_rule_word_is_32_bytes():
    assert RuleChoice(parameters=258).rule_word == bytes(30) + b"\1\2"


@given(st.binary(max_size=1000))
def test_the_id_of_a_source_is_its_content_id(source):
    assert source_id(source) == str(ContentId.of(source))


def test_a_source_that_fits_no_block_has_no_id():
    with pytest.raises(JobDocumentError, match="262145 bytes, at most 262144"):
        source_id(bytes(MAX_BYTES + 1))


def test_a_model_is_named_or_brings_its_source():
    document = DOCUMENT.model_copy(update={"model": SourceModel(source=source_id(b"class Net: ..."), class_name="Net")})
    value = json.loads(document.to_bytes())
    assert value["model"] == {"class": "Net", "source": source_id(b"class Net: ...")}
    assert JobDocument.from_bytes(document.to_bytes()) == document


@pytest.mark.parametrize(
    ("rule", "alpha"),
    [("weighted_mean", 0.5), ("relay", None)],
)
def test_distillation_and_the_rule_relay_belong_together(rule, alpha):
    with pytest.raises(ValidationError, match="belong together"):
        JobDocument(
            name="x",
            model=BuiltinModel(builtin="mlp"),
            layout=LAYOUT,
            rule=RuleChoice(name=rule),
            distillation_alpha=alpha,
        )


TINY = [{"name": "weight", "shape": [2], "fraction_bits": 24}]
HEAD = {"name": "head", "type": "float32", "shape": [2, 3]}
BASE = {"content": source_id(b"a base"), "size": 100}
RELAY = RuleChoice(name="relay")
LOCAL = {"name": "steps", "type": "int64", "shape": [], "data": "eNpjYIAAAAAIAAE="}  # 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layout": TINY}, "2 parameters with a padding of 0, expected a padding that makes at least 9"),
        ({"layout": [*TINY, {"padding": 6}]}, "with a padding of 6"),
        ({"layout": [*TINY, {"padding": 8}]}, "with a padding of 8"),
        ({"layout": [*LAYOUT, {"padding": 1}]}, "with a padding of 1"),
        ({"layout": [*TINY, {"padding": 0}]}, "a padding of 0: leave it out"),
        ({"layout": [*TINY, {"padding": True}]}, "padding is True"),
        ({"layout": [{"padding": 7}, *TINY]}, "unknown keys: 'padding'"),
        ({"layout": [{"padding": 8}]}, "the layout is empty"),
        ({"local": [LOCAL, LOCAL]}, "'steps' is there twice"),
        ({"local": [LOCAL | {"name": "weight"}]}, "'weight' is there twice"),
        ({"frozen": [HEAD, HEAD], "base": BASE}, "'head' is there twice"),
        ({"frozen": [HEAD], "personal": [HEAD], "base": BASE}, "'head' is there twice"),
        ({"frozen": [HEAD | {"name": "weight"}], "base": BASE}, "'weight' is there twice, in layout, local, frozen"),
        ({"local": [LOCAL], "frozen": [HEAD | {"name": "steps"}], "base": BASE}, "'steps' is there twice"),
        ({"frozen": [HEAD]}, "the base that has them, belong together"),
        ({"base": BASE}, "the base that has them, belong together"),
        ({"frozen": [HEAD], "base": BASE | {"size": 24}}, "24 bytes, expected 24 of the frozen and personal tensors"),
        ({"frozen": [HEAD], "base": BASE | {"size": 24 + 2**20 + 1}}, "dag-pb"),
        ({"frozen": [HEAD], "base": BASE | {"content": BASE["content"][:-1] + "b"}}, "content"),
        ({"frozen": [HEAD | {"shape": [2**30, 2**30]}], "base": BASE}, "more elements than there can be"),
        ({"frozen": [HEAD | {"type": "float8"}], "base": BASE}, "type"),
        ({"personal": [HEAD], "base": BASE, "rule": RELAY, "distillation_alpha": 0.5}, "'head' is personal"),
    ],
)
def test_tensors_that_do_not_belong_together_are_refused(change, said):
    right = {"name": "n", "model": BuiltinModel(builtin="mlp"), "layout": LAYOUT}
    parts = {"local": [LOCAL], "frozen": [HEAD], "personal": [HEAD | {"name": "neck"}], "base": BASE}
    whole = JobDocument(**right | parts | {"layout": [*TINY, {"padding": 7}]})
    assert JobDocument.from_bytes(whole.to_bytes()) == whole
    with pytest.raises(ValidationError, match=said):
        JobDocument(**right | change)
