"""The command that puts a model behind a page and an API."""

from __future__ import annotations

import os
from pathlib import Path

from whenwhere.cli.common import make_parser, say
from whenwhere.errors import WhenwhereError

_NEEDED = {"fastapi", "uvicorn", "python_multipart", "starlette"}


def serve_command(arguments: list[str]) -> int:
    from dataclasses import replace

    from whenwhere.server.options import ServerOptions

    parser = make_parser("serve")
    parser.add_argument("--model", type=Path, required=True, help="folder of a run")
    parser.add_class_arguments(ServerOptions, as_group=False)
    parsed = parser.parse_args(arguments).as_dict()
    model = parsed.pop("model")
    options = ServerOptions(**{**parsed, "allowed_hosts": tuple(parsed["allowed_hosts"])})
    if options.token is None and os.environ.get("WHENWHERE_TOKEN"):
        options = replace(options, token=os.environ["WHENWHERE_TOKEN"])
    try:
        from whenwhere.server.run import serve
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        raise WhenwhereError(f"{error.name} is not installed; pip install 'whenwhere[serve]'") from error
    serve(model, options, say)
    return 0
