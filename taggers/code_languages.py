"""Programming and markup languages: their names, the extensions of their files, and how they mark comments.

A name is that of The Stack in lower case (`c++`, `c-sharp`, `emacs-lisp`), and others are taken for it (`cpp`,
`c#`). Extensions are those of GitHub's Linguist; one that several languages share is given to the one that is most of
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dolma_pipeline.kernels.comments import Syntax

_C: dict[str, Any] = {"line": ("//",), "block": (("/*", "*/"),)}
_SCRIPT: dict[str, Any] = _C | {"quotes": "\"'`", "long": "`"}
_HASH: dict[str, Any] = {"line": ("#",), "at_word": True}
_SHELL: dict[str, Any] = _HASH | {"long": "\"'"}
_DASH: dict[str, Any] = {"line": ("--",)}
_MARKUP: dict[str, Any] = {"block": (("<!--", "-->"),), "quotes": ""}
_PERCENT: dict[str, Any] = {"line": ("%",), "quotes": ""}
_LISP: dict[str, Any] = {"line": (";",), "block": (("#|", "|#"),), "quotes": '"', "long": '"'}

LANGUAGES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "assembly": ("asm nasm", "asm s", {"line": (";", "#"), "quotes": '"'}),
    "batchfile": ("bat batch", "bat cmd", {"line": ("::", "REM"), "quotes": '"', "at_word": True}),
    "c": ("", "c h", _C),
    "c++": ("cpp cxx", "cpp cc cxx hpp hh hxx", _C),
    "c-sharp": ("c# csharp", "cs", _C),
    "clojure": ("", "clj cljs", {"line": (";",), "quotes": '"', "long": '"'}),
    "cmake": ("", "cmake", _HASH | {"quotes": '"', "long": '"'}),
    "common-lisp": ("lisp", "lisp cl", _LISP),
    "css": ("", "css", {"block": (("/*", "*/"),)}),
    "cuda": ("", "cu cuh", _C),
    "dart": ("", "dart", _C),
    "dockerfile": ("docker", "dockerfile", _HASH),
    "elixir": ("", "ex exs", _HASH | {"quotes": '"', "long": '"'}),
    "elm": ("", "elm", {"line": ("--",), "block": (("{-", "-}"),), "quotes": '"'}),
    "emacs-lisp": ("elisp", "el", {"line": (";",), "quotes": '"', "long": '"'}),
    "erlang": ("", "erl hrl", {"line": ("%",), "quotes": '"', "long": '"'}),
    "f-sharp": (
        "f# fsharp",
        "fs fsx",
        {"line": ("//",), "block": (("(*", "*)"),), "quotes": '"', "long": '"', "char": True},
    ),
    "fortran": ("", "f90 f95 f03 f08", {"line": ("!",)}),
    "glsl": ("", "glsl frag vert", _C),
    "go": ("golang", "go", _SCRIPT),
    "groovy": ("", "groovy gradle", _C),
    "haskell": ("", "hs", {"line": ("--",), "block": (("{-", "-}"),), "quotes": '"', "char": True}),
    "html": ("xhtml", "html htm xhtml", _MARKUP),
    "ini": ("", "ini cfg", {"line": (";", "#"), "quotes": "", "at_word": True}),
    "java": ("", "java", _C),
    "javascript": ("js jsx", "js mjs cjs jsx", _SCRIPT),
    "julia": ("", "jl", {"line": ("#",), "block": (("#=", "=#"),), "quotes": '"', "long": '"', "char": True}),
    "kotlin": ("", "kt kts", _C),
    "less": ("", "less", _C),
    "lua": ("", "lua", {"line": ("--",), "block": (("--[[", "]]"),)}),
    "makefile": ("make", "mk mak", _HASH | {"quotes": ""}),
    "markdown": ("md", "md markdown", _MARKUP),
    "matlab": ("", "m", {"line": ("%",), "block": (("%{", "%}"),), "quotes": '"'}),
    "objective-c": ("objc", "mm", _C),
    "ocaml": ("", "ml mli", {"block": (("(*", "*)"),), "quotes": '"', "long": '"', "char": True}),
    "pascal": ("delphi", "pas", {"line": ("//",), "block": (("(*", "*)"), ("{", "}")), "quotes": "'"}),
    "perl": ("", "pl pm", _SHELL),
    "php": ("", "php", {"line": ("//", "#"), "block": (("/*", "*/"),), "long": "\"'"}),
    "powershell": ("", "ps1 psm1", {"line": ("#",), "block": (("<#", "#>"),), "at_word": True, "long": "\"'"}),
    "protocol-buffer": ("protobuf proto", "proto", _C),
    "python": ("py python3", "py pyi pyw", {"line": ("#",), "triple": True}),
    "r": ("", "r", {"line": ("#",), "long": "\"'"}),
    "ruby": ("", "rb", _SHELL),
    "rust": ("", "rs", _C | {"quotes": '"', "char": True, "long": '"'}),
    "scala": ("", "scala", _C | {"quotes": '"', "char": True}),
    "scheme": ("racket", "scm rkt", _LISP),
    "scss": ("sass", "scss", _C),
    "shell": ("bash sh zsh", "sh bash zsh", _SHELL),
    "solidity": ("", "sol", _C),
    "sql": ("", "sql", {"line": ("--",), "block": (("/*", "*/"),), "long": "\"'"}),
    "swift": ("", "swift", _C | {"quotes": '"'}),
    "tcl": ("", "tcl", _HASH | {"quotes": '"', "long": '"'}),
    "tex": ("latex", "tex sty", _PERCENT),
    "toml": ("", "toml", _HASH),
    "typescript": ("ts tsx", "ts tsx", _SCRIPT),
    "verilog": ("systemverilog", "v sv", _C | {"quotes": '"'}),
    "vhdl": ("", "vhd vhdl", _DASH | {"quotes": '"'}),
    "visual-basic": ("vb vb.net", "vb bas", {"line": ("'",), "quotes": '"'}),
    "vue": ("", "vue", _MARKUP),
    "xml": ("", "xml xsd xsl svg", _MARKUP),
    "yaml": ("", "yml yaml", _HASH),
    "zig": ("", "zig", {"line": ("//",), "quotes": '"', "char": True}),
}
"""Name -> other names, extensions, syntax of comments (arguments of `kernels.comments.Syntax`)."""

NAMES = tuple(LANGUAGES)
MARKUP = ("html", "vue")
"""Languages whose visible text is counted."""

_BY_NAME = {other: name for name, (others, _, _) in LANGUAGES.items() for other in (name, *others.split())}
_BY_EXTENSION = {extension: name for name, (_, extensions, _) in LANGUAGES.items() for extension in extensions.split()}
_BY_FILE = {"makefile": "makefile", "dockerfile": "dockerfile", "cmakelists.txt": "cmake"}


def language_of(name: object, path: object) -> str:
    """The language that a document's metadata tell, "" for none that is known here.

    Args:
        name: of a language, if it is text.
        path: a path, URL or extension, if it is text; asked where the name is of no language.
    """
    if isinstance(name, str) and (known := _BY_NAME.get("-".join(name.lower().split()))):
        return known
    if not isinstance(path, str):
        return ""
    file = path.lower().split("?")[0].split("#")[0].rpartition("/")[2]
    return _BY_FILE.get(file) or _BY_EXTENSION.get(file.rpartition(".")[2], "")


def syntaxes() -> list[Syntax]:
    """How the languages mark comments, in the order of NAMES."""
    from dolma_pipeline.kernels.comments import Syntax

    return [Syntax(**syntax) for _, _, syntax in LANGUAGES.values()]
