"""Reading a template: YAML or JSON with CloudFormation's tags, local code put aside, SAM turned into plain resources.

The transform is AWS's own ``samtranslator`` (extra ``sam``). It wants code to lie in S3, so local paths are replaced by
marks of ours on the way through; ``local_code`` finds them again.
"""

import copy
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from forerun.cli.deploying.intrinsics import Scope
from forerun.cli.deploying.plan import (
    Planned,
    in_order,
    parameter_values,
    refuse_unserved,
    refuse_unserved_sam,
)
from forerun.cli.failures import Failure

_MARK = "forerun-local"
_CODE_OF = {
    "AWS::Serverless::Function": "CodeUri",
    "AWS::Serverless::LayerVersion": "ContentUri",
    "AWS::Lambda::Function": "Code",
    "AWS::Lambda::LayerVersion": "Content",
}


@dataclass(frozen=True, slots=True)
class Template:
    """A template ready to be applied: resources in order, names in ``scope``, code by mark in ``code``."""

    resources: list[Planned]
    scope: Scope
    code: Mapping[str, Path]
    outputs: Mapping[str, Any]

    def local_code(self, code: Any) -> Path | None:
        """The local path that a resource's ``Code`` or ``Content`` stands for; ``None`` when it is none."""
        if isinstance(code, dict) and code.get("S3Bucket") == _MARK:
            return self.code[str(code.get("S3Key"))]
        return None


@dataclass(frozen=True, slots=True)
class Stack:
    """What a template does not say itself: the pseudo parameters."""

    name: str
    region: str
    account: str

    def pseudo_parameters(self) -> dict[str, str]:
        """``AWS::Region`` and its like."""
        stack_id = f"arn:aws:cloudformation:{self.region}:{self.account}:stack/{self.name}/local"
        return {
            "AWS::Region": self.region,
            "AWS::AccountId": self.account,
            "AWS::Partition": "aws",
            "AWS::StackName": self.name,
            "AWS::StackId": stack_id,
            "AWS::URLSuffix": "amazonaws.com",
        }


def is_template(path: Path) -> bool:
    """Whether a path names a template rather than code."""
    return path.suffix in {".yaml", ".yml", ".json", ".template"}


def load_template(path: Path, stack: Stack, given: Mapping[str, str]) -> Template:
    """Read and transform; ``Failure`` for what is wrong, or not served, before anything is changed."""
    document = _parse(path)
    refuse_unserved_sam(document)
    values = parameter_values(document.get("Parameters") or {}, given)
    document, code = _put_code_aside(document, path.parent)
    if _uses_sam(document):
        document = _transform(document, values, stack)
    scope = Scope(
        parameters={**stack.pseudo_parameters(), **values},
        mappings=document.get("Mappings") or {},
        conditions=document.get("Conditions") or {},
    )
    refuse_unserved(document, scope)
    return Template(in_order(document, scope), scope, code, document.get("Outputs") or {})


class _Loader(yaml.SafeLoader):
    """YAML with ``!Ref`` and its like; dates stay text, as policies need them."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    if name == "Fn::GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {name: value}


_Loader.add_multi_constructor("!", _short_form)


def _parse(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        # _Loader is a SafeLoader.
        content = json.loads(text) if path.suffix == ".json" else yaml.load(text, _Loader)  # noqa: S506
    except FileNotFoundError:
        raise Failure(f"{path} does not exist.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise Failure(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("Resources"), dict):
        raise Failure(f"{path} is not a template: it has no Resources.")
    for name, resource in content["Resources"].items():
        if not isinstance(resource, dict) or not isinstance(resource.get("Properties") or {}, dict):
            raise Failure(f"{path}: resource {name} is not written as Type and Properties.")
    return content


def _put_code_aside(document: dict[str, Any], base: Path) -> tuple[dict[str, Any], dict[str, Path]]:
    document = copy.deepcopy(document)
    default = ((document.get("Globals") or {}).get("Function") or {}).pop("CodeUri", None)
    code: dict[str, Path] = {}
    for name, resource in document["Resources"].items():
        key = _CODE_OF.get(str(resource.get("Type")))
        if key is None:
            continue
        properties = resource.setdefault("Properties", {})
        _refuse_images(name, properties)
        if "InlineCode" in properties:
            continue
        local = properties.get(key)
        if local is None and key == "CodeUri":
            local = default or "."
        if isinstance(local, str) and not local.startswith("s3://"):
            code[name] = base / local
            serverless = key.endswith("Uri")
            properties[key] = (
                f"s3://{_MARK}/{name}" if serverless else {"S3Bucket": _MARK, "S3Key": name}
            )
        elif not (isinstance(local, dict) and "ZipFile" in local):
            raise Failure(f"{name}.{key} must be a local path; packages in S3 are not served yet.")
    return document, code


def _refuse_images(name: str, properties: Mapping[str, Any]) -> None:
    if properties.get("PackageType") == "Image" or "ImageUri" in properties:
        raise Failure(f"{name} is a container image, which is not served; deploy it as a zip.")


def _uses_sam(document: Mapping[str, Any]) -> bool:
    return "Transform" in document or any(
        str(item.get("Type", "")).startswith("AWS::Serverless::")
        for item in document["Resources"].values()
    )


def _transform(document: dict[str, Any], values: dict[str, Any], stack: Stack) -> dict[str, Any]:
    try:
        # Optional, and 0.7 s to import: only SAM templates need it.
        from samtranslator.model.exceptions import InvalidDocumentException
        from samtranslator.parser.parser import Parser
        from samtranslator.translator.translator import Translator
    except ImportError:
        raise Failure(
            "SAM templates need the package aws-sam-translator.",
            "Install it with: pip install 'forerun[sam]'",
        ) from None
    transforms = document.get("Transform", "AWS::Serverless-2016-10-31")
    if transforms not in ("AWS::Serverless-2016-10-31", ["AWS::Serverless-2016-10-31"]):
        raise Failure(
            f"Transform {transforms!r} is not served; only AWS::Serverless-2016-10-31 is."
        )
    # It warns of its own unpublished metrics at the end of every program.
    logging.getLogger("samtranslator.metrics").setLevel(logging.ERROR)
    session = _Session(stack.region)
    try:
        result: dict[str, Any] = Translator({}, Parser(), boto_session=session).translate(
            {**document, "Transform": "AWS::Serverless-2016-10-31"},
            {**stack.pseudo_parameters(), **values},
        )
    except InvalidDocumentException as error:
        causes = "; ".join(cause.message for cause in error.causes) or error.message
        raise Failure(f"The template is not valid: {causes}") from error
    result.pop("Transform", None)
    return result


@dataclass(frozen=True, slots=True)
class _Session:
    """All that the translator asks of a boto3 session."""

    region_name: str
