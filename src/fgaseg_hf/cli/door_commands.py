# Copyright 2026 The fgaseg_hf authors. Licensed under the Apache License, Version 2.0.
"""The subcommands `fgaseg serve` and `fgaseg page`."""

from typing import Annotated

import typer

from .segmentation_options import limit_pixels, refuse_what_is_no_number

MODEL_HELP = "A name (see fgaseg models), a folder, a file or an id on the Hugging Face Hub."


def serve(
    model: Annotated[str, typer.Option(metavar="MODEL", help=MODEL_HELP)] = "scenes",
    labels: Annotated[
        str | None, typer.Option(metavar="WORDS", help="What requests without words ask for, separated by commas.")
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="0.0.0.0 lets every machine of the network in, without a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.", show_default="an accelerator")] = None,
    max_megabytes: Annotated[float, typer.Option(min=0.1, help="Of one request.")] = 20,
    max_megapixels: Annotated[float, typer.Option(min=0.01, help="Of one picture.")] = 25,
    max_words: Annotated[int, typer.Option(min=1, help="Of one request.")] = 200,
    max_waiting: Annotated[int, typer.Option(min=1, help="Requests that wait; a further one gets 429.")] = 32,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds until a waiting request is given up.")] = 60,
    batch_size: Annotated[int, typer.Option(min=1, help="Requests of the same words computed together.")] = 4,
) -> None:
    """Serve a model over HTTP: POST /segment, and the Hub's task image-segmentation at POST /.

    Needs the extra `serve`. The description of all requests is at /docs; /health, /ready and /metrics are for
    whatever watches over it.
    """
    try:
        import uvicorn

        from ..apps.segmentation_service import create_app
    except ModuleNotFoundError as error:
        raise ValueError(f'There is no package {error.name!r} here: pip install "fgaseg_hf[serve]".') from error
    from ..apps.service_limits import ServiceLimits
    from ..inference.segmenter import Segmenter
    from ..inference.word_lists import read_words

    words = None if labels is None else list(read_words(labels))
    refuse_what_is_no_number("--max-megabytes", max_megabytes)
    refuse_what_is_no_number("--timeout", timeout)
    # Pillow's own limit would stand below a higher one.
    limit_pixels(max_megapixels)
    limits = ServiceLimits(
        max_bytes=int(max_megabytes * 2**20),
        max_pixels=int(max_megapixels * 1e6),
        max_words=max_words,
        max_waiting=max_waiting,
        timeout=timeout,
        batch_size=batch_size,
    )
    app = create_app(Segmenter(model, device=device), limits, words)
    typer.echo(f"{model} answers at http://{host}:{port} (requests: http://{host}:{port}/docs)", err=True)
    uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=int(timeout))


def page(
    model: Annotated[str, typer.Option(metavar="MODEL", help=MODEL_HELP)] = "scenes",
    host: Annotated[str, typer.Option(metavar="ADDRESS")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 7860,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.", show_default="an accelerator")] = None,
) -> None:
    """Open a page in the browser: choose a picture, type words, watch the answer change.

    Needs the extra `demo`. Nothing leaves this machine. Other known models can be chosen on the page, if only this
    machine can open it.
    """
    try:
        from ..apps.page import create_page
    except ModuleNotFoundError as error:
        raise ValueError(f'There is no package {error.name!r} here: pip install "fgaseg_hf[demo]".') from error
    from ..apps.model_shelf import ModelShelf
    from ..conversion.named_models import NAMED_MODELS
    from ..inference.segmenter import Segmenter

    # Strangers shall not make this machine fetch gigabytes.
    others = list(NAMED_MODELS) if host in ("127.0.0.1", "localhost", "::1") else []
    shelf = ModelShelf([model, *others], lambda name: Segmenter(name, device=device))
    # Loaded now: what is wrong with it is said before the page is opened.
    shelf.get(model)
    typer.echo(f"{model} answers at http://{host}:{port}", err=True)
    create_page(shelf).launch(server_name=host, server_port=port, quiet=True, max_file_size="50mb")
