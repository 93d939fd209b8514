"""What is known of how executions cause each other: trace information, the choice of what is watched, and spans kept."""

from forerun.traces.daemon import Daemon, document_of
from forerun.traces.exporter import Answer, Exporter, collector
from forerun.traces.keeper import Keeper
from forerun.traces.otlp_messages import response_bytes, status_bytes
from forerun.traces.otlp_reading import Imported, read_json, read_protobuf
from forerun.traces.otlp_writing import write_protobuf
from forerun.traces.propagation import (
    NOTHING,
    Reader,
    Seen,
    linked,
    unsigned,
    w3c_fields,
    xray_header,
)
from forerun.traces.segments import segment_of
from forerun.traces.selection import AUTO, OFF, ON, Decision, Selector
from forerun.traces.service_graph import Measure, ServiceGraph
from forerun.traces.signing import MAX_WEIGHT, Signed, Signer
from forerun.traces.tree import TraceNode, TraceTree, tree_of
from forerun.traces.xray_filter import Filter, compile_filter
from forerun.traces.xray_names import from_xray_id, to_xray_id
from forerun.traces.xray_reading import read_document
from forerun.traces.xray_summary import TraceFacts, facts_of
from forerun.traces.xray_writing import documents_of

__all__ = [
    "AUTO",
    "MAX_WEIGHT",
    "NOTHING",
    "OFF",
    "ON",
    "Answer",
    "Daemon",
    "Decision",
    "Exporter",
    "Filter",
    "Imported",
    "Keeper",
    "Measure",
    "Reader",
    "Seen",
    "Selector",
    "ServiceGraph",
    "Signed",
    "Signer",
    "TraceFacts",
    "TraceNode",
    "TraceTree",
    "collector",
    "compile_filter",
    "document_of",
    "documents_of",
    "facts_of",
    "from_xray_id",
    "linked",
    "read_document",
    "read_json",
    "read_protobuf",
    "response_bytes",
    "segment_of",
    "status_bytes",
    "to_xray_id",
    "tree_of",
    "unsigned",
    "w3c_fields",
    "write_protobuf",
    "xray_header",
]
