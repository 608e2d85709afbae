"""Schemas of operators that the exporter does not know: contrib operators, and those of a newer standard."""

from collections.abc import Collection, Mapping, Sequence

from onnx.defs import OpSchema
from onnxscript.values import Op, Opset

CONTRIB = Opset("com.microsoft", 1)
INT, FLOAT = OpSchema.AttrType.INT, OpSchema.AttrType.FLOAT


def describe_operator(
    name: str,
    inputs: Mapping[str, str],
    output: tuple[str, str],
    types: Mapping[str, Sequence[str]],
    attributes: Mapping[str, OpSchema.AttrType],
    *,
    optional: Collection[str] = (),
    opset: Opset = CONTRIB,
) -> Op:
    """Describe an operator with one output.

    Args:
        name: in its domain.
        inputs: name -> the variable of its type, in order.
        output: its name and the variable of its type.
        types: variable -> the types it may have, "tensor(float)".
        attributes: name -> kind.
        optional: inputs that may be left out.
        opset: domain and version.
    """
    required, left_out = OpSchema.FormalParameterOption.Single, OpSchema.FormalParameterOption.Optional
    described = OpSchema(
        name,
        opset.domain,
        opset.version,
        inputs=[
            OpSchema.FormalParameter(key, kind, param_option=left_out if key in optional else required)
            for key, kind in inputs.items()
        ],
        outputs=[OpSchema.FormalParameter(*output)],
        type_constraints=[(variable, list(kinds), "") for variable, kinds in types.items()],
        attributes=[OpSchema.Attribute(key, kind) for key, kind in attributes.items()],
    )
    return Op(opset, name, described)
