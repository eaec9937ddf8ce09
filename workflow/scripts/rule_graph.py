"""Draw the rules of the workflow into docs/architecture.md, as Mermaid; GitHub shows it as a picture.

    python workflow/scripts/rule_graph.py            # writes the graph between the two marks in that page
    python workflow/scripts/rule_graph.py --check    # ends with status 1 when the page shows another graph

The graph is Snakemake's own (`--rulegraph`) for one model from nothing. An arrow is left out where a longer way says
the same.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/architecture.md"
MARKS = ("<!-- rule graph, made by workflow/scripts/rule_graph.py -->", "<!-- end of the rule graph -->")

Graph = dict[str, set[str]]  # rule -> rules that need it


def snakemake_graph() -> str:
    """The output of `snakemake --rulegraph mermaid-js` for everything that one model can make."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--nolock", "--rulegraph", "mermaid-js", "all"]
    command += ["--config", "results=rule_graph", "models=rtdetr", "framework=", "device=cpu"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"error: snakemake --rulegraph failed:\n{run.stderr}")
    return run.stdout


def parse(text: str) -> Graph:
    """Rules and what needs them; a rule that feeds itself (a probe that reads another one) is not shown as such."""
    names = dict(re.findall(r"^\s*(id\d+)\[(\w+)\]", text, re.M))
    graph: Graph = {name: set() for name in names.values()}
    for first, second in re.findall(r"^\s*(id\d+) --> (id\d+)", text, re.M):
        if first != second:
            graph[names[first]].add(names[second])
    return graph


def reduced(graph: Graph) -> Graph:
    """The graph without the arrows that a longer way makes superfluous."""

    def reachable(start: str) -> set[str]:
        found: set[str] = set()
        pending = [start]
        while pending:
            for following in graph[pending.pop()] - found:
                found.add(following)
                pending.append(following)
        return found

    ways = {rule: reachable(rule) for rule in graph}
    return {rule: {end for end in ends if not any(end in ways[via] for via in ends)} for rule, ends in graph.items()}


def mermaid(graph: Graph) -> str:
    """The graph as a fenced block, in alphabetical order, so that equal graphs are equal texts."""
    edges = [f"    {rule} --> {end}" for rule in sorted(graph) for end in sorted(graph[rule])]
    return "\n".join(["```mermaid", "flowchart TB", *edges, "```"])


def placed(readme: str, block: str) -> str:
    """The PAGE with the block between its marks."""
    begin, end = (readme.find(mark) for mark in MARKS)
    if begin < 0 or end < begin:
        sys.exit(f"error: {PAGE.name}: lacks the marks {MARKS[0]} and {MARKS[1]}")
    return readme[: begin + len(MARKS[0])] + f"\n{block}\n" + readme[end:]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="Only compare.")
    options = parser.parse_args()
    now = PAGE.read_text(encoding="utf-8")
    wanted = placed(now, mermaid(reduced(parse(snakemake_graph()))))
    if options.check:
        sys.exit(0 if wanted == now else f"{PAGE.name}: shows another graph, run workflow/scripts/rule_graph.py")
    PAGE.write_text(wanted, encoding="utf-8")
