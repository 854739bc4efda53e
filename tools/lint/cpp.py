"""Just enough of C++ to lint it: comments and literals blanked out, includes, and the extent of functions."""
import re

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)
RAW_STRING = re.compile(r'R"([^()\\ ]{0,16})\(')
SCOPE = re.compile(r'^(?:template\s*<.*>\s*)?(?:inline\s+)?(?:namespace|class|struct|union|enum|extern)\b', re.DOTALL)


def blank(text):
    """`text` with comments and the insides of literals replaced by blanks; line breaks stay where they are."""
    return _blank(text, comments=True, literals=True)


def without_comments(text):
    return _blank(text, comments=True, literals=False)


def _spaces(text):
    return "".join(char if char == "\n" else " " for char in text)


def _blank(text, comments, literals):
    out, at = [], 0
    while at < len(text):
        char = text[at]
        if text.startswith("//", at):
            end = text.find("\n", at)
            end = len(text) if end < 0 else end
            piece = text[at:end]
            out.append(_spaces(piece) if comments else piece)
        elif text.startswith("/*", at):
            end = text.find("*/", at + 2)
            end = len(text) if end < 0 else end + 2
            piece = text[at:end]
            out.append(_spaces(piece) if comments else piece)
        elif char == "R" and RAW_STRING.match(text, at):
            close = ")" + RAW_STRING.match(text, at).group(1) + '"'
            end = text.find(close, at)
            end = len(text) if end < 0 else end + len(close)
            piece = text[at:end]
            out.append('""' + _spaces(piece[2:]) if literals else piece)
        elif char == '"' or (char == "'" and not (at and (text[at - 1].isalnum() and text[at + 1:at + 2].isalnum()
                                                           and text[at - 1] in "0123456789abcdefABCDEF"))):
            end = at + 1
            while end < len(text) and text[end] != char and text[end] != "\n":
                end += 2 if text[end] == "\\" else 1
            end = min(end + 1, len(text))
            piece = text[at:end]
            out.append(char + _spaces(piece[1:-1]) + piece[-1:] if literals and len(piece) > 1 else piece)
        else:
            end = at + 1
            out.append(char)
        at = end
    return "".join(out)


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def includes(text):
    """(line, is_quoted, path) of every #include."""
    return [(line_of(text, match.start()), match.group(1) == '"', match.group(2))
            for match in INCLUDE.finditer(without_comments(text))]


def functions(text):
    """(first line, number of lines, name) of every function body, from its opening to its closing brace.

    A body is an opening brace outside any other function whose lead-in holds a parameter list and does not begin a
    scope. Lambdas and blocks belong to the function around them.
    """
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda match: _spaces(match.group()), blank(text), flags=re.MULTILINE)
    stack, found, lead = [], [], 0
    for match in re.finditer(r"[{};]", code):
        char, at = match.group(), match.start()
        if char == "{":
            head = code[lead:at].strip()
            inside = any(kind == "function" for kind, _, _ in stack)
            if not inside and ")" in head and not SCOPE.match(head):
                name = re.search(r"([\w~:]+)\s*\(", head)
                stack.append(("function", at, name.group(1) if name else "?"))
            else:
                stack.append(("scope", at, ""))
        elif char == "}" and stack:
            kind, start, name = stack.pop()
            if kind == "function":
                first = line_of(code, start)
                found.append((first, line_of(code, at) - first + 1, name))
        lead = at + 1
    return found
