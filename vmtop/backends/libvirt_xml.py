"""XML of libvirt's as a tree. Whoever defines a VM writes most of it, so it may be broken, or made to harm."""

from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from vmtop.units import KIB


def parse_xml(xml: str) -> Element:
    """A tree from a document; one with a DTD, and so with entities, is refused.

    Raises:
        ValueError: the document is broken, or declares a document type; the text says what.
    """
    builder = TreeBuilder()

    def refuse(*_declaration: object) -> NoReturn:
        raise ValueError("the XML declares a document type, which libvirt never writes")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(xml, True)
    except expat.ExpatError as error:
        raise ValueError(f"the XML is broken: {error}") from error
    return builder.close()


def whole_number(text: str) -> int:
    """A number as libvirt writes it.

    Raises:
        ValueError: it is none.
    """
    # int() takes more than libvirt ever writes: signs, underscores, digits of other scripts.
    if not (text.strip().isascii() and text.strip().isdigit() and len(text) < 30):
        raise ValueError(f"{text[:30]!r} is no whole number")
    return int(text)


def amount_bytes(element: Element) -> int:
    """Bytes in an element such as <current unit='KiB'>1024</current>.

    Raises:
        ValueError: it holds no number, or one in another unit.
    """
    if element.get("unit") != "KiB":
        raise ValueError(f"<{element.tag}> is in {element.get('unit')!r}, and libvirt always writes KiB")
    return whole_number(element.text or "") * KIB
