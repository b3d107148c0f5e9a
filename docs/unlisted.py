"""MkDocs hooks: pages that mkdocs.yml forgot, and links that leave docs/."""

import re
from pathlib import Path

OUTSIDE = re.compile(r"\[([^\]]+)\]\((\.\./[^)\s]+)\)")


def on_config(config):
    """List a page that is in no section under the last one."""

    def listed(part):
        if isinstance(part, str):
            return {part}
        return set().union(*map(listed, part.values() if isinstance(part, dict) else part))

    pages = {path.name for path in Path(config.docs_dir).glob("*.md")}
    [section] = config.nav[-1].values()
    section += sorted(pages - listed(config.nav))


def on_page_markdown(markdown, page, config, files):
    """A link to a file outside docs/ works where the page is read beside it; here it is a name."""

    def named(link):
        there = (Path(page.file.abs_src_path).parent / link[2].partition("#")[0]).resolve()
        return link[1] if there.exists() else link[0]

    return OUTSIDE.sub(named, markdown)
