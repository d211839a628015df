"""`license_v1`: each way in which a licence is named, and what is none."""

from __future__ import annotations

import pytest

from dolma_pipeline.documents import Batch, Span
from dolma_pipeline.registry import load_tagger
from dolma_pipeline.testing import check_tagger
from taggers.license import License


def mentions(text: str) -> list[tuple[str, str, float]]:
    """Field, text and score of all spans, in order of place."""
    found = load_tagger("license_v1")(text)
    spans = [(span, field) for field, value in found.items() if isinstance(value, list) for span in value]
    return [(field, text[span.start : span.end], round(span.score, 3)) for span, field in sorted(spans)]


def test_keeps_its_promises() -> None:
    check_tagger("license_v1")


@pytest.mark.parametrize(
    ("text", "field", "span", "version", "name"),
    [
        ("/* SPDX-License-Identifier: Apache-2.0 */", "spdx", "Apache-2.0", 1, "Apache-2.0"),
        ("// spdx-license-identifier:MIT.", "spdx", "MIT", 1, "MIT"),
        (
            "# é SPDX-License-Identifier: (GPL-2.0-only WITH Linux-syscall-note) OR MIT\nimport x",
            "spdx",
            "(GPL-2.0-only WITH Linux-syscall-note) OR MIT",
            1,
            "(GPL-2.0-only WITH Linux-syscall-note) OR MIT",
        ),
        ("(SPDX-License-Identifier: MIT)", "spdx", "MIT", 1, "MIT"),
        ("((SPDX-License-Identifier: (MIT OR X11)))", "spdx", "(MIT OR X11)", 1, "(MIT OR X11)"),
        ("# SPDX-License-Identifier: LicenseRef-Own and more", "spdx", "LicenseRef-Own", 1, "LicenseRef-Own"),
        (
            "<a href='https://creativecommons.org/licenses/by-sa/3.0/de/'>",
            "cc_by_sa",
            "https://creativecommons.org/licenses/by-sa/3.0",
            3,
            "CC-BY-SA-3.0",
        ),
        (
            "ü http://www.CreativeCommons.org/licenses/by/",
            "cc_by",
            "http://www.CreativeCommons.org/licenses/by",
            0,
            "CC-BY",
        ),
        (
            "creativecommons.org/licenses/by-nd-nc/1.0",
            "cc_by_nc_nd",
            "creativecommons.org/licenses/by-nd-nc/1.0",
            1,
            "CC-BY-NC-ND-1.0",
        ),
        (
            "//creativecommons.org/publicdomain/zero/1.0/",
            "cc_zero",
            "creativecommons.org/publicdomain/zero/1.0",
            1,
            "CC0-1.0",
        ),
        (
            "creativecommons.org/publicdomain/mark/1.0",
            "cc_public_domain",
            "creativecommons.org/publicdomain/mark/1.0",
            1,
            "CC-PDM-1.0",
        ),
        (
            "creativecommons.org/licenses/sampling+/1.0",
            "cc_other",
            "creativecommons.org/licenses/sampling+/1.0",
            1,
            "CC-1.0",
        ),
        ("under CC BY-NC-SA 4.0.", "cc_by_nc_sa", "CC BY-NC-SA 4.0", 4, "CC-BY-NC-SA-4.0"),
        ("(CC-BY-ND)", "cc_by_nd", "CC-BY-ND", 0, "CC-BY-ND"),
        ("license: cc-by-nc-4.0", "cc_by_nc", "cc-by-nc-4.0", 4, "CC-BY-NC-4.0"),
        ("CC0 1.0 Universal", "cc_zero", "CC0 1.0", 1, "CC0-1.0"),
        ("CC BY-SA-ND 3.0", "cc_other", "CC BY-SA-ND 3.0", 3, "CC-3.0"),
        (
            "a Creative Commons Attribution-NonCommercial-NoDerivs 3.0 Unported License",
            "cc_by_nc_nd",
            "Creative Commons Attribution-NonCommercial-NoDerivs 3.0",
            3,
            "CC-BY-NC-ND-3.0",
        ),
        (
            "Creative\nCommons Attribution–ShareAlike License (version 2.5)",
            "cc_by_sa",
            "Creative\nCommons Attribution–ShareAlike License (version 2.5",
            2.5,
            "CC-BY-SA-2.5",
        ),
        (
            "creative commons attribution, non-commercial and share alike licence",
            "cc_by_nc_sa",
            "creative commons attribution, non-commercial and share alike licence",
            0,
            "CC-BY-NC-SA",
        ),
        ("Creative Commons Zero v1.0", "cc_zero", "Creative Commons Zero v1.0", 1, "CC0-1.0"),
    ],
)
def test_ways_to_name_a_licence(text: str, field: str, span: str, version: float, name: str) -> None:
    assert mentions(text) == [(field, span, version)]
    assert load_tagger("license_v1")(text)["first"] == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cc by email, and ACC BY 4.0",
        "CC BYTES",
        "cc0x",
        "acc-by",
        "SPDX-License-Identifier:\nMIT",
        "a creative mind",
        "Creative Commons is an organization",
        "creativecommons.org/about",
        "CC 0",
    ],
)
def test_what_names_none(text: str) -> None:
    assert mentions(text) == []
    assert load_tagger("license_v1")(text)["first"] == ""


def test_the_first_is_the_first_in_the_text() -> None:
    text = "CC BY 4.0: https://creativecommons.org/licenses/by-sa/4.0/ SPDX-License-Identifier: MIT"
    assert load_tagger("license_v1")(text)["first"] == "CC-BY-4.0"
    assert [field for field, _, _ in mentions(text)] == ["cc_by", "cc_by_sa", "spdx"]


def test_a_document_ends_where_it_ends() -> None:
    found = License().tag(
        Batch.of(["x A", "CC BY", " 4.0", "SPDX-License-Identifier: ", "MIT", "creativecommons.", "org/"])
    )
    assert found["first"] == ["", "CC-BY", "", "", "", "", ""]
    assert found["cc_by"].to_pylist()[1] == [Span(0, 5, 0.0)._asdict()]
