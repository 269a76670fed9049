"""The part of Go's templates that Modelfiles use. Expected texts by Go's documentation (pkg.go.dev/text/template)."""

from __future__ import annotations

import pytest

from tunesmith.export.ollama.go_template import GoTemplateError, render_go

DATA = {
    "System": "Be brief.",
    "Messages": [
        {"Role": "system", "Content": "Be brief."},
        {"Role": "user", "Content": "Why {{ .System }}?"},
        {"Role": "assistant", "Content": "So."},
    ],
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        ('a{{ "{{" }}b', "a{{b"),
        ("{{ range .Messages }}[{{ .Role }}]{{ end }}", "[system][user][assistant]"),
        ("{{ range $i, $_ := .Messages }}{{ $i }}{{ .Content }};{{ end }}", "0Be brief.;1Why {{ .System }}?;2So.;"),
        ('{{ range .Messages }}{{ if eq .Role "user" }}U{{ else if eq .Role "system" }}S{{ else }}A{{ end }}{{ end }}', "SUA"),
        ("{{ range $i, $_ := .Messages }}{{ if and (eq $i 1) $.System }}({{ $.System }}){{ end }}{{ end }}", "(Be brief.)"),
        ("{{ if not .System }}none{{ else }}some{{ end }}", "some"),
        ("{{ if or .System .Messages }}x{{ end }}", "x"),
        ("a \n{{- range .Messages }} {{ .Role }} {{- end }}", "a system user assistant"),
    ],
)
def test_rendering(template: str, expected: str) -> None:
    assert render_go(template, DATA) == expected


@pytest.mark.parametrize(
    "template",
    [
        "{{ if .System }}x",
        "{{ end }}",
        "{{ .Tools }}",
        "{{ printf .System }}",
        "{{ range .Messages }}",
        "{{ eq .System }}",
        "{{ . }}",
        "a {{ b",
    ],
)
def test_what_is_not_known_is_an_error(template: str) -> None:
    with pytest.raises(GoTemplateError):
        render_go(template, DATA)
