"""The page ``/docs``: every operation with its parameters, fields and a curl line, out of the OpenAPI description.

The usual pages of this kind load their programs from elsewhere; this one is plain HTML and asks nobody.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

__all__ = ["reference_page"]

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid color-mix(in srgb, currentColor 25%, transparent); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .75rem .3rem 0; }
section { border-top: 1px solid color-mix(in srgb, currentColor 25%, transparent); }
"""

Json = Mapping[str, Any]


def reference_page(described: Json) -> str:
    """Render an OpenAPI description as one page of HTML."""
    info, schemas = described["info"], described["components"]["schemas"]
    operations = "".join(
        _operation(method, path, operation, schemas)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    )
    about = "".join(f"<p>{escape(part)}</p>" for part in info["description"].split("\n\n"))
    limits = escape(json.dumps(described.get("x-limits", {})))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])}: reference</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body><main>'
        f"<h1>{escape(info['title'])}</h1>{about}<p>Limits: <code>{limits}</code>. The description for programs: "
        f'<a href="openapi.json">openapi.json</a>.</p>{operations}</main></body></html>'
    )


def _operation(method: str, path: str, operation: Json, schemas: Json) -> str:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    answer = operation["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema", {})
    parameters = [_row(one["name"], one["schema"] | one, bool(one.get("required"))) for one in _of(operation)]
    rows = "".join([*parameters, *_rows(body, schemas)])
    name = f"{method.upper()} {path}"
    asked = _table("Request", rows) if rows else ""
    answered = _table("Answer", "".join(_rows(answer, schemas))) if answer else ""
    return (
        f"<section><h2><code>{escape(name)}</code></h2><p>{escape(operation.get('summary', ''))}</p>"
        f"<pre>{escape(_curl(method, path, body, schemas))}</pre>{asked}{answered}</section>"
    )


def _of(operation: Json) -> list[Json]:
    found: list[Json] = operation.get("parameters", [])
    return found


def _table(title: str, rows: str) -> str:
    return f"<h3>{title}</h3><table><thead><tr><th>name<th>type<th>meaning</tr></thead><tbody>{rows}</tbody></table>"


def _rows(schema: Json, schemas: Json) -> Iterator[str]:
    described = _resolved(schema, schemas)
    for name, field in described.get("properties", {}).items():
        yield _row(name, field, name in described.get("required", ()))


def _row(name: str, field: Json, required: bool) -> str:
    default = f" Default: {json.dumps(field['default'])}." if field.get("default") is not None else ""
    limits = [f"{word} {field[key]}" for key, word in _LIMITS if key in field]
    meaning = f"{field.get('description', '')}{default}{' (' + ', '.join(limits) + ')' if limits else ''}"
    needed = "" if required else "?"
    return (
        f"<tr><td><code>{escape(name)}{needed}</code><td><code>{escape(_kind(field))}</code>"
        f"<td>{escape(meaning.strip())}</tr>"
    )


_LIMITS = (("minimum", "from"), ("maximum", "to"), ("maxLength", "characters, at most"), ("maxItems", "at most"))


def _kind(field: Json) -> str:
    if "$ref" in field:
        return str(field["$ref"].rpartition("/")[2])
    if "anyOf" in field:
        return " | ".join(dict.fromkeys(_kind(one) for one in field["anyOf"]))
    if "enum" in field:
        return " | ".join(json.dumps(one) for one in field["enum"])
    if field.get("type") == "array":
        return f"[{_kind(field.get('items', {}))}]"
    return str(field.get("type", "any"))


def _resolved(schema: Json, schemas: Json) -> Json:
    found: Json = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found


def _curl(method: str, path: str, body: Json, schemas: Json) -> str:
    line = f"curl{'' if method == 'get' else ' -X ' + method.upper()} http://127.0.0.1:8000{path}"
    if not body:
        return line
    example = _resolved(body, schemas).get("examples", [None])[0]
    shown = example or dict.fromkeys(_resolved(body, schemas).get("required", ()), "…")
    return f"{line} -H 'content-type: application/json' \\\n     -d '{json.dumps(shown, ensure_ascii=False)}'"
