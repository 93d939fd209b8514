"""XML request bodies as small trees. Document types, entities, deep nesting and huge trees are refused."""

from xml.parsers import expat

MAX_DEPTH = 64
# 10,000 parts of an upload, each with its number, ETag and checksums.
MAX_ELEMENTS = 80_000


class BadXml(ValueError):
    """The text is no XML, or XML of a kind that is not accepted."""


class Element:
    """One element: its name without namespace prefix, attributes, text and children."""

    __slots__ = ("attributes", "children", "name", "text")

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.text = ""
        self.children: list[Element] = []

    def named(self, name: str) -> "list[Element]":
        """The children of that name, in order."""
        return [child for child in self.children if child.name == name]


class _Builder:
    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if len(self._open) >= MAX_DEPTH or self._count > MAX_ELEMENTS:
            raise BadXml("The XML is nested too deeply or has too many elements")
        element = Element(name.rpartition(":")[2], attributes)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, _name: str) -> None:
        self._open.pop()

    def text(self, data: str) -> None:
        self._open[-1].text += data


def _refuse(*_: object) -> None:
    raise BadXml("Document types and entities are not accepted")


def parse_xml(body: bytes) -> Element:
    """The root element. Raises ``BadXml``."""
    builder = _Builder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(body, True)  # noqa: FBT003 - the parser takes it by position only
    except BadXml:
        raise
    except (expat.ExpatError, LookupError, ValueError) as error:
        # The latter two where it says to be in an encoding that is unknown, or cannot be read byte by byte.
        raise BadXml(f"The XML you provided was not well-formed: {error}") from error
    assert builder.root is not None
    return builder.root
