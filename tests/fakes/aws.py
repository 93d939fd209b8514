"""An account in memory behind botocore's own models: arguments and answers that do not fit them fail the test."""

# ruff: noqa: N803 - arguments are named as AWS names them

import base64
import hashlib
import json
import re

import botocore.exceptions
import botocore.session
import botocore.validate

ACCOUNT, REGION = "123456789012", "us-home-1"
_session = botocore.session.get_session()


def arn(name, qualifier=None):
    text = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
    return f"{text}:{qualifier}" if qualifier else text


class FakeAws:
    """``client(service)`` acts on the same account each time; ``calls`` names every operation in order."""

    def __init__(self):
        self.functions, self.layers, self.roles, self.targets = {}, {}, {}, {}
        self.calls = []

    def client(self, service, **_):
        return _Client(service, self)

    @property
    def changes(self):
        return [name for name in self.calls if not name.startswith(("Describe", "Get", "List"))]

    def refuse(self, operation, code, message="not there"):
        raise botocore.exceptions.ClientError(
            {"Error": {"Code": code, "Message": message}}, operation
        )


class _Client:
    def __init__(self, service, account):
        self._model = _session.get_service_model(service)
        self._names = {_snake(name): name for name in self._model.operation_names}
        self._account = account
        self.exceptions = _Exceptions()

    def __getattr__(self, name):
        operation = self._names[name]

        def call(**arguments):
            model = self._model.operation_model(operation)
            _check(arguments, model.input_shape)
            self._account.calls.append(operation)
            answer = getattr(self, f"_{name}")(operation, **arguments) or {}
            if model.output_shape:
                _check(answer, model.output_shape)
            return answer

        return call

    def get_paginator(self, name):
        client = self

        class Pages:
            def paginate(self, **arguments):
                return [getattr(client, name)(**arguments)]

        return Pages()

    def _function(self, operation, name, qualifier=None):
        function = self._account.functions.get(name.split(":")[-1])
        if function is None:
            self._account.refuse(
                operation, "ResourceNotFoundException", f"Function not found: {name}"
            )
        return function

    # functions
    def _create_function(self, operation, FunctionName, Code, Tags=None, **rest):
        self._account.functions[FunctionName] = {
            "configuration": _described(FunctionName, Code["ZipFile"], rest),
            "zip": Code["ZipFile"],
            "tags": Tags or {},
            "versions": [],
            "aliases": {},
            "provisioned": {},
            "urls": {},
            "policy": {},
            "events": {},
            "reserved": None,
        }
        return self._account.functions[FunctionName]["configuration"]

    def _get_function(self, operation, FunctionName):
        function = self._function(operation, FunctionName)
        return {"Configuration": function["configuration"], "Tags": function["tags"]}

    def _get_function_configuration(self, operation, FunctionName):
        return self._function(operation, FunctionName)["configuration"]

    def _list_functions(self, operation):
        return {"Functions": [item["configuration"] for item in self._account.functions.values()]}

    def _update_function_code(self, operation, FunctionName, ZipFile, **_):
        function = self._function(operation, FunctionName)
        function["zip"] = ZipFile
        function["configuration"]["CodeSha256"] = _sha(ZipFile)
        return function["configuration"]

    def _update_function_configuration(self, operation, FunctionName, **rest):
        current = self._function(operation, FunctionName)["configuration"]
        current |= _configuration(rest)
        return current

    def _delete_function(self, operation, FunctionName):
        self._function(operation, FunctionName)
        del self._account.functions[FunctionName]

    def _tag_resource(self, operation, Resource, Tags):
        self._function(operation, Resource)["tags"].update(Tags)

    def _get_function_concurrency(self, operation, FunctionName):
        reserved = self._function(operation, FunctionName)["reserved"]
        return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}

    def _put_function_concurrency(self, operation, FunctionName, ReservedConcurrentExecutions):
        self._function(operation, FunctionName)["reserved"] = ReservedConcurrentExecutions

    def _delete_function_concurrency(self, operation, FunctionName):
        self._function(operation, FunctionName)["reserved"] = None

    # what hangs on them
    def _publish_version(self, operation, FunctionName, Description="", **_):
        function = self._function(operation, FunctionName)
        current = function["configuration"]
        if not function["versions"] or function["versions"][-1]["RevisionOf"] != json.dumps(
            current
        ):
            number = str(len(function["versions"]) + 1)
            function["versions"].append({"Version": number, "RevisionOf": json.dumps(current)})
        number = function["versions"][-1]["Version"]
        return {**current, "Version": number, "FunctionArn": arn(FunctionName, number)}

    def _list_versions_by_function(self, operation, FunctionName):
        function = self._function(operation, FunctionName)
        numbers = ["$LATEST", *(item["Version"] for item in function["versions"])]
        return {"Versions": [{**function["configuration"], "Version": n} for n in numbers]}

    def _get_alias(self, operation, FunctionName, Name):
        aliases = self._function(operation, FunctionName)["aliases"]
        if Name not in aliases:
            self._account.refuse(operation, "ResourceNotFoundException")
        return aliases[Name]

    def _create_alias(self, operation, FunctionName, Name, **rest):
        alias = {"Name": Name, "AliasArn": arn(FunctionName, Name), **rest}
        self._function(operation, FunctionName)["aliases"][Name] = alias
        return alias

    _update_alias = _create_alias

    def _list_aliases(self, operation, FunctionName):
        return {"Aliases": list(self._function(operation, FunctionName)["aliases"].values())}

    def _get_provisioned_concurrency_config(self, operation, FunctionName, Qualifier):
        configs = self._function(operation, FunctionName)["provisioned"]
        if Qualifier not in configs:
            self._account.refuse(operation, "ProvisionedConcurrencyConfigNotFoundException")
        count = configs[Qualifier]
        return {"RequestedProvisionedConcurrentExecutions": count, "Status": "READY"}

    def _put_provisioned_concurrency_config(
        self, operation, FunctionName, Qualifier, ProvisionedConcurrentExecutions
    ):
        configs = self._function(operation, FunctionName)["provisioned"]
        configs[Qualifier] = ProvisionedConcurrentExecutions
        return {"Status": "IN_PROGRESS"}

    def _delete_provisioned_concurrency_config(self, operation, FunctionName, Qualifier):
        del self._function(operation, FunctionName)["provisioned"][Qualifier]

    def _list_provisioned_concurrency_configs(self, operation, FunctionName):
        configs = self._function(operation, FunctionName)["provisioned"]
        return {
            "ProvisionedConcurrencyConfigs": [
                {"FunctionArn": arn(FunctionName, qualifier)} for qualifier in configs
            ]
        }

    # Application Auto Scaling

    def _describe_scalable_targets(self, _operation, ServiceNamespace, ResourceIds):
        found = [
            self._account.targets[each] for each in ResourceIds if each in self._account.targets
        ]
        return {"ScalableTargets": [target["target"] for target in found]}

    def _register_scalable_target(self, _operation, ResourceId, RoleARN=None, **rest):
        target = {"ResourceId": ResourceId, "RoleARN": "role", "CreationTime": 0.0, **rest}
        entry = self._account.targets.setdefault(ResourceId, {"policies": {}, "actions": {}})
        entry["target"] = target

    def _describe_scaling_policies(self, _operation, ServiceNamespace, ResourceId, PolicyNames):
        known = self._account.targets[ResourceId]["policies"]
        return {"ScalingPolicies": [known[name] for name in PolicyNames if name in known]}

    def _put_scaling_policy(self, _operation, ResourceId, PolicyName, **rest):
        known = self._account.targets[ResourceId]["policies"]
        policy = {"PolicyName": PolicyName, "ResourceId": ResourceId, "CreationTime": 0.0, **rest}
        known[PolicyName] = {**policy, "PolicyARN": f"policy/{PolicyName}"}
        return {"PolicyARN": f"policy/{PolicyName}"}

    def _describe_scheduled_actions(self, _operation, ServiceNamespace, ResourceId):
        return {"ScheduledActions": list(self._account.targets[ResourceId]["actions"].values())}

    def _put_scheduled_action(self, _operation, ResourceId, ScheduledActionName, **rest):
        action = {"ScheduledActionName": ScheduledActionName, "ResourceId": ResourceId, **rest}
        shown = {**action, "ScheduledActionARN": "action", "CreationTime": 0.0}
        self._account.targets[ResourceId]["actions"][ScheduledActionName] = shown

    def _delete_scheduled_action(self, _operation, ResourceId, ScheduledActionName, **_rest):
        del self._account.targets[ResourceId]["actions"][ScheduledActionName]

    def _get_function_url_config(self, operation, FunctionName, Qualifier=None):
        urls = self._function(operation, FunctionName)["urls"]
        if Qualifier not in urls:
            self._account.refuse(operation, "ResourceNotFoundException")
        return urls[Qualifier]

    def _create_function_url_config(self, operation, FunctionName, Qualifier=None, **rest):
        url = f"http://{FunctionName.lower()}.lambda-url.{REGION}.localhost:9700/"
        config = {
            "FunctionUrl": url,
            "FunctionArn": arn(FunctionName, Qualifier),
            "CreationTime": "now",
            **rest,
        }
        self._function(operation, FunctionName)["urls"][Qualifier] = {
            **config,
            "LastModifiedTime": "now",
        }
        return config

    def _get_policy(self, operation, FunctionName, Qualifier=None):
        statements = self._function(operation, FunctionName)["policy"].get(Qualifier)
        if not statements:
            self._account.refuse(operation, "ResourceNotFoundException")
        return {"Policy": json.dumps({"Statement": [{"Sid": sid} for sid in statements]})}

    def _add_permission(self, operation, FunctionName, StatementId, Qualifier=None, **rest):
        policy = self._function(operation, FunctionName)["policy"].setdefault(Qualifier, {})
        assert StatementId not in policy
        policy[StatementId] = rest
        return {"Statement": json.dumps(rest)}

    def _remove_permission(self, operation, FunctionName, StatementId, Qualifier=None):
        del self._function(operation, FunctionName)["policy"][Qualifier][StatementId]

    def _get_function_event_invoke_config(self, operation, FunctionName, Qualifier=None):
        events = self._function(operation, FunctionName)["events"]
        if Qualifier not in events:
            self._account.refuse(operation, "ResourceNotFoundException")
        return events[Qualifier]

    def _put_function_event_invoke_config(self, operation, FunctionName, Qualifier=None, **rest):
        config = {"FunctionArn": arn(FunctionName, Qualifier), **rest}
        self._function(operation, FunctionName)["events"][Qualifier] = config
        return config

    # layers
    def _list_layer_versions(self, operation, LayerName, MaxItems):
        versions = self._account.layers.get(LayerName, [])
        return {
            "LayerVersions": [{"Version": item["Version"]} for item in versions[::-1][:MaxItems]]
        }

    def _get_layer_version(self, operation, LayerName, VersionNumber):
        return self._account.layers[LayerName][VersionNumber - 1]

    def _publish_layer_version(self, operation, LayerName, Content, **rest):
        versions = self._account.layers.setdefault(LayerName, [])
        number = len(versions) + 1
        layer = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:{LayerName}"
        content = {"CodeSha256": _sha(Content["ZipFile"])}
        versions.append(
            {"Version": number, "LayerVersionArn": f"{layer}:{number}", "Content": content, **rest}
        )
        return versions[-1]

    # roles
    def _get_role(self, operation, RoleName):
        if RoleName not in self._account.roles:
            self._account.refuse(operation, "NoSuchEntity")
        return {"Role": self._account.roles[RoleName]["role"]}

    def _create_role(self, operation, RoleName, AssumeRolePolicyDocument, **_):
        role = {
            "Path": "/",
            "RoleName": RoleName,
            "RoleId": "AROAAAAAAAAAAAAAAAAA",
            "Arn": f"arn:aws:iam::{ACCOUNT}:role/{RoleName}",
            "CreateDate": "2026-01-01",
            "AssumeRolePolicyDocument": AssumeRolePolicyDocument,
        }
        self._account.roles[RoleName] = {"role": role, "inline": {}, "attached": set()}
        return {"Role": role}

    def _list_role_policies(self, operation, RoleName):
        return {"PolicyNames": list(self._account.roles[RoleName]["inline"])}

    def _get_role_policy(self, operation, RoleName, PolicyName):
        document = self._account.roles[RoleName]["inline"][PolicyName]
        return {"RoleName": RoleName, "PolicyName": PolicyName, "PolicyDocument": document}

    def _put_role_policy(self, operation, RoleName, PolicyName, PolicyDocument):
        self._account.roles[RoleName]["inline"][PolicyName] = PolicyDocument

    def _list_attached_role_policies(self, operation, RoleName):
        attached = self._account.roles[RoleName]["attached"]
        return {"AttachedPolicies": [{"PolicyArn": item} for item in attached]}

    def _attach_role_policy(self, operation, RoleName, PolicyArn):
        self._account.roles[RoleName]["attached"].add(PolicyArn)

    def _get_caller_identity(self, operation):
        return {"Account": ACCOUNT}


class _Exceptions:
    """``client.exceptions``: only the code tells refusals apart."""

    ResourceNotFoundException = NoSuchEntityException = botocore.exceptions.ClientError
    ProvisionedConcurrencyConfigNotFoundException = botocore.exceptions.ClientError


def _described(name, content, rest):
    defaults = {"Timeout": 3, "MemorySize": 128, "Description": ""}
    return {
        **defaults,
        **_configuration(rest),
        "FunctionName": name,
        "FunctionArn": arn(name),
        "CodeSha256": _sha(content),
        "State": "Active",
        "LastUpdateStatus": "Successful",
    }


def _configuration(given):
    given = dict(given)
    if "Layers" in given:
        given["Layers"] = [{"Arn": layer} for layer in given["Layers"]]
    return given


def _sha(content):
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def _snake(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _check(value, shape):
    if shape is None:
        assert not value
        return
    report = botocore.validate.ParamValidator().validate(value, shape)
    problems = report.generate_report()
    assert not problems, problems
    unknown = set(value) - set(shape.members)
    assert not unknown, f"{shape.name} has no {unknown}"
