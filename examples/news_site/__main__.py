"""Serve the news site until the process ends: ``python -m news_site``, in ``examples``."""

import argparse

from news_site.server import ROBOTS, NewsServer


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description="A news site of invented headlines.")
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--pages", type=int, default=20, help="pages of each section")
    parser.add_argument("--robots", choices=sorted(ROBOTS), default="refuse")
    options = parser.parse_args()
    server = NewsServer(options.port, pages=options.pages, robots=options.robots)
    print(server.address, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
