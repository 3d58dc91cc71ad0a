import pytest
import torch

import saccade
from saccade.insertion import insert
from saccade.testing.subject import Subject
from tests.suites import everyday

MECHANISMS = [
    *saccade.list_mechanisms(),
    "non_local[pairwise=dot_product]", "non_local[pairwise=concatenation]", "fla[lean=True]",
    "cam[sign=printed]", "gsop[variant=sum]", "psa[variant=sequential]", "cbam[pools=max]", "bam[combine=sum]",
]  # fmt: skip


pytestmark = pytest.mark.filterwarnings(
    "ignore:`torch.jit:FutureWarning", "ignore::torch.jit.TracerWarning"
)  # other tools still trace


@pytest.mark.parametrize("name", everyday(["cbam", "bam", "psa", "pam"], map(str, MECHANISMS)))
def test_a_trace_written_to_a_file_computes_gates_at_other_batches_and_sizes(name, tmp_path):
    subject = Subject.of(name)
    module = subject.awake()
    torch.jit.trace(module, (subject.map(batch=2),)).save(tmp_path / "traced.pt")
    read = torch.jit.load(tmp_path / "traced.pt")
    x = 2 * subject.map(batch=3, size=subject.other_size)
    torch.testing.assert_close(read(x), module(x))


def test_exported_graphs_have_one_spelling_of_each_step():
    """Converters know neither lerp nor mT, and some no maximum with an index."""
    net = torch.nn.Sequential(torch.nn.Conv2d(32, 32, 1))
    insert(net, "cbam", at="0")
    insert(net, "pam", at="0")
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(".g"):
                parameter.fill_(0.7)
    x = torch.randn(2, 32, 6, 7)
    free = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    program = torch.export.export(net.eval(), (x,), dynamic_shapes=(free,))
    used = {str(node.target) for node in program.graph.nodes} | {
        node.kind() for node in torch.jit.trace(net, (x,)).inlined_graph.nodes()
    }
    unknown = ("lerp", "addcmul", "mT", "aten.max", "aten::max")
    assert not [name for name in used if any(word in name for word in unknown)]
    other = torch.randn(3, 32, 9, 8)
    torch.testing.assert_close(program.module()(other), net(other))
