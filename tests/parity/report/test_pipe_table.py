"""Tables in Markdown, as text and as a browser gets them."""

from markdown_it import MarkdownIt

from parity.report.pipe_table import pipe_table


def test_columns_are_aligned_as_asked():
    rows = [["a", 1], ["b", 2]]
    assert pipe_table(["name", "n"], rows) == "| name | n |\n| --- | ---: |\n| a | 1 |\n| b | 2 |"
    assert pipe_table(["name", "n"], [], left=()) == "| name | n |\n| ---: | ---: |"
    html = MarkdownIt().enable("table").render(pipe_table(["name", "n"], rows, left=[1]))
    assert html.count("<tr>") == 3 and '<td style="text-align:right">a</td>' in html and ">2</td>" in html
