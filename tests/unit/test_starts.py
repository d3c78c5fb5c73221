"""What a trainer and a stream worker load before they are ready."""

import subprocess
import sys


def test_a_trainer_is_ready_without_torch_and_never_loads_river_or_torchs_compiler() -> None:
    code = (
        "import sys, trainer.app; assert 'torch' not in sys.modules;"
        "import trainer.work; assert 'torch' in sys.modules; assert 'river' not in sys.modules;"
        "from trainer.recommend.adamw import AdamW; import torch;"
        "AdamW([torch.nn.Parameter(torch.ones(2))]).step(0.1);"
        "assert 'torch._dynamo' not in sys.modules"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_a_stream_worker_never_loads_what_river_has_for_data_sets() -> None:
    code = (
        "import sys, streams.app; assert 'river' in sys.modules;"
        "assert {'pandas', 'sklearn', 'sqlalchemy'}.isdisjoint(sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
