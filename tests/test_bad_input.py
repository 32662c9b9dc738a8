"""Every way to get the command line wrong that we could think of: its exit code, and its one exact line."""

import os
from pathlib import Path

import pytest

from mlrisk.cli import main

FIELDS = (
    "dataset, data_dir, train_size, tracked, moments, model, hidden_sizes, channels, dense, crop, kernel, padding, "
    "pool_stride, optimizer.name, optimizer.learning_rate, optimizer.momentum, optimizer.clip_norm, batch_size, epochs, seeds, seed, lanes"
)
NAMES = (
    "capacity, capacity_shift, class_sensitivity, colored_mnist, convergence, covariate_shift, critical_samples, "
    "discrete_example, domainbed, easy_examples, equal_risks, extrapolation, finance, first_layer_filters, "
    "flow_densities, flow_energies, linear_sems, linear_unit_tests, loss_sensitivity, memorization_audit, "
    "noise_levels, penalty_timing, regularisers, risk_plane, sine_posterior, tabular_density, universality, vae"
)
PRESETS = "cpu, digits, paper, paper_cnn, smoke, smoke_cnn"
RUN = "run easy_examples --config smoke"
FILES = {
    "syntax.yaml": "experiment: easy_examples\nseeds: [3\n",
    "list.yaml": "- 1\n- 2\n",
    "empty.yaml": "",
    "other.yaml": "experiment: colored_mnist\nseeds: 3\n",
    "nobody.yaml": "seeds: 3\n",
    "typo.yaml": "experiment: easy_examples\nseedz: 3\n",
    "typed.yaml": "experiment: easy_examples\nseeds: many\n",
    "null.yaml": "experiment: easy_examples\nseeds: null\n",
    "bool.yaml": "experiment: easy_examples\nseeds: true\n",
    "flat.yaml": "experiment: easy_examples\noptimizer: sgd\n",
    "deep.yaml": "experiment: easy_examples\nseeds: {count: 3}\n",
    "number.yaml": "3: 4\n",
    "file": "not a folder",
}

# arguments -> exit code, line; {dir} is a folder with FILES in it
CASES = {
    "": (2, "the following arguments are required: run|sweep|report|data|list"),
    "rum": (2, "command: 'rum' is not one of run, sweep, report, data, list; did you mean 'run'?"),
    "run": (2, f"experiment: none given; it is one of {NAMES}"),
    "run easy_example": (2, f"experiment: 'easy_example' is not one of {NAMES}; did you mean 'easy_examples'?"),
    "run xyz": (2, f"experiment: 'xyz' is not one of {NAMES}"),
    "run easy_examples --config dgits": (2, f"config: 'dgits' is not one of {PRESETS}; did you mean 'digits'?, nor a YAML file"),
    "run easy_examples --config {dir}/absent.yaml": (2, "config: {dir}/absent.yaml cannot be read (No such file or directory)"),
    "run easy_examples --config {dir}/syntax.yaml": (2, "config: {dir}/syntax.yaml is not valid YAML (line 3: expected ',' or ']', but got '<stream end>')"),
    "run easy_examples --config {dir}/list.yaml": (2, "config: {dir}/list.yaml is not a mapping of field names to values"),
    "run easy_examples --config {dir}/empty.yaml": (2, "config: {dir}/empty.yaml is not a mapping of field names to values"),
    "run easy_examples --config {dir}/number.yaml": (2, "config: {dir}/number.yaml is not a mapping of field names to values"),
    "run easy_examples --config {dir}/other.yaml": (2, "config: {dir}/other.yaml is for experiment 'colored_mnist', not 'easy_examples'"),
    "run easy_examples --config {dir}/nobody.yaml": (2, "config: {dir}/nobody.yaml does not say 'experiment: ...', not 'easy_examples'"),
    "run easy_examples --config {dir}/typo.yaml": (2, f"{{dir}}/typo.yaml: field: 'seedz' is not one of {FIELDS}; did you mean 'seed'?"),
    "run easy_examples --config {dir}/typed.yaml": (2, "seeds: 'many' is not allowed, it must be a whole number"),
    "run easy_examples --config {dir}/null.yaml": (2, "{dir}/null.yaml: seeds: None is not allowed, it must be a whole number"),
    "run easy_examples --config {dir}/bool.yaml": (2, "{dir}/bool.yaml: seeds: True is not allowed, it must be a whole number"),
    "run easy_examples --config {dir}/flat.yaml": (2, "{dir}/flat.yaml: optimizer: 'sgd' is not allowed, it has fields of its own: optimizer.name, optimizer.learning_rate, optimizer.momentum, optimizer.clip_norm"),
    "run easy_examples --config {dir}/deep.yaml": (2, f"{{dir}}/deep.yaml: field: 'seeds.count' is not one of {FIELDS}; did you mean 'seeds'?"),
    f"{RUN} --seedz 3": (2, f"field: 'seedz' is not one of {FIELDS}; did you mean 'seed'?"),
    f"{RUN} --optimizer.learning_rat 3": (2, f"field: 'optimizer.learning_rat' is not one of {FIELDS}; did you mean 'optimizer.learning_rate'?"),
    f"{RUN} --seeds": (2, "seeds: no value given; fields are set as --seeds value"),
    f"{RUN} --seeds --seed 1": (2, "seeds: no value given; fields are set as --seeds value"),
    f"{RUN} --seeds 3 --seeds 4": (2, "seeds: given twice, as '3' and '4'"),
    f"{RUN} --seeds=": (2, "seeds: '' is not allowed, it must be a whole number"),
    f"{RUN} seeds 3": (2, "'seeds' is not an argument; fields are set as --field value"),
    f"{RUN} -s 3": (2, "'-s' is not an argument; fields are set as --field value"),
    f"{RUN} --seeds -1": (2, "seeds: -1 is not allowed, it must be at least 2"),
    f"{RUN} --seeds 1": (2, "seeds: 1 is not allowed, it must be at least 2"),
    f"{RUN} --seeds 3.5": (2, "seeds: '3.5' is not allowed, it must be a whole number"),
    f"{RUN} --seeds ten": (2, "seeds: 'ten' is not allowed, it must be a whole number"),
    f"{RUN} --epochs 0": (2, "epochs: 0 is not allowed, it must be at least 1"),
    f"{RUN} --seed -5": (2, "seed: -5 is not allowed, it must be at least 0"),
    f"{RUN} --train_size 1": (2, "train_size: 1 is not allowed, it must be at least 2"),
    f"{RUN} --batch_size 0": (2, "batch_size: 0 is not allowed, it must be at least 1"),
    f"{RUN} --hidden_sizes 0,3": (2, "hidden_sizes: (0, 3) is not allowed, it must be at least 1"),
    f"{RUN} --hidden_sizes [a]": (2, "hidden_sizes: ['a'] is not allowed, it must be a list of which each item is a whole number"),
    f"{RUN} --dataset minst": (2, "dataset: 'minst' is not one of digits, mnist, cifar10; did you mean 'mnist'?"),
    f"{RUN} --model transformer": (2, "model: 'transformer' is not one of mlp, cnn"),
    f"{RUN} --moments pixels": (2, "moments: 'pixels' is not one of global, pixel; did you mean 'pixel'?"),
    f"{RUN} --optimizer.name sdg": (2, "optimizer.name: 'sdg' is not one of sgd, adam; did you mean 'sgd'?"),
    f"{RUN} --optimizer.learning_rate 0": (2, "optimizer.learning_rate: 0.0 is not allowed, it must be above 0"),
    f"{RUN} --optimizer.learning_rate nan": (2, "optimizer.learning_rate: nan is not allowed, it must be above 0"),
    f"{RUN} --optimizer.learning_rate inf": (2, "optimizer.learning_rate: inf is not allowed, it must be above 0"),
    f"{RUN} --optimizer.learning_rate fast": (2, "optimizer.learning_rate: 'fast' is not allowed, it must be a number"),
    f"{RUN} --optimizer.momentum 1": (2, "optimizer.momentum: 1.0 is not allowed, it must be at least 0 and below 1"),
    f"{RUN} --optimizer.clip_norm x": (2, "optimizer.clip_norm: 'x' is not allowed, it must be a number or null"),
    f"{RUN} --optimizer sgd": (2, "optimizer: 'sgd' is not allowed, it has fields of its own: optimizer.name, optimizer.learning_rate, optimizer.momentum, optimizer.clip_norm"),
    f"{RUN} --lanes 0": (2, "lanes: 0 is not allowed, it must be at least 1"),
    f"{RUN} --devices 0": (2, "devices: 0 is not allowed, it must be at least 1"),
    f"{RUN} --devices two": (2, "run: argument --devices: invalid int value: 'two'"),
    f"{RUN} --coordinator here:1": (2, "distributed: --coordinator, --num_processes and --process_id go together"),
    f"{RUN} --out {{dir}}/file": (4, "run folder {dir}/file: there is a file of that name where a folder is needed; choose another --out (nothing was started)"),
    f"{RUN} --out {{dir}}/file/inside": (4, "run folder {dir}/file/inside: a part of the path is a file, not a folder; choose another --out (nothing was started)"),
    f"{RUN} --batch_size 101 --out {{dir}}/runs": (2, "batch_size: 101 is not from 1 to 100 (the number of examples)"),
    f"{RUN} --train_size 5000 --out {{dir}}/runs": (2, "train_size: 5000 is not allowed, digits has 1442 training examples"),
    f"{RUN} --dataset mnist --data_dir {{dir}}/none --out {{dir}}/runs": (3, 'mnist: not prepared in {dir}/none; prepare it once: pip install "mlrisk[prepare]", then mlrisk data prepare mnist --data_dir {dir}/none'),
    "run capacity --judge_every 2": (2, "judge_every: 2 is not allowed, it must divide epochs, which is 3"),
    "run capacity --levels 0,0.5": (2, "levels: (0.0, 0.5) is not allowed, it must be above 0 and at most 1"),
    "run capacity --digits.train_size 1430": (2, "train_size: 1430 and validation_size 50 are not allowed, both must be positive and digits has 1442 training examples for the two together"),
    "run capacity --batch_size 101": (2, "batch_size: 101 is not from 1 to 100 (the number of examples)"),
    "run noise_levels --digits.attacked 51": (2, "attacked: 51 is not allowed, there are 50 validation examples"),
    "run noise_levels --digits.radii 0": (2, "digits.radii: (0.0,) is not allowed, it must be above 0"),
    "run noise_levels --digits.network.name transformer": (2, "digits.network.name: 'transformer' is not one of mlp, cnn"),
    "run risk_plane --weights []": (2, "weights: () is not allowed, it must have at least 1 item"),
    "run risk_plane --train_noise 0.1": (2, "train_noise: (0.1,) is not allowed, it must have at least 2 items"),
    "run colored_mnist --train_noise 0.2,0.1,1.3": (2, "train_noise: (0.2, 0.1, 1.3) is not allowed, it must be at least 0 and at most 1"),
    "run colored_mnist --label_noise 1.5": (2, "label_noise: 1.5 is not allowed, it must be at least 0 and at most 1"),
    "run colored_mnist --default.weight=-1": (2, "default.weight: -1.0 is not allowed, it must be at least 0"),
    "run colored_mnist --pool 2": (2, "labels: all digits are of one class; some below 5 and some from 5 are needed"),
    "run colored_mnist --pool 5000": (2, "pool: 5000 is not below 1442, the training pictures; the rest is the test domain"),
    "run domainbed --config smoke --test_domains=-95%": (2, "test_domains: '-95%' is not one of +90%, +80%, -90%; did you mean '-90%'?"),
    "run domainbed --config smoke --domains folder --folder {dir}/none": (3, None),
    "run finance --dataset kaggle --data_dir {dir}/none": (3, None),
    "run regularisers --dropout 1": (2, "dropout: (1.0,) is not allowed, it must be at least 0 and below 1"),
    "run regularisers --adversarial 1.5": (2, "adversarial: (1.5,) is not allowed, it must be at least 0 and at most 1"),
    "run regularisers --radius -1": (2, "radius: -1.0 is not allowed, it must be above 0"),
    "sweep easy_examples --config smoke --grid seeds": (2, "grid: 'seeds' is not FIELD=A,B,C"),
    "sweep easy_examples --config smoke --grid seeds=": (2, "grid: 'seeds=' is not FIELD=A,B,C"),
    "sweep easy_examples --config smoke --grid seedz=1,2": (2, f"field: 'seedz' is not one of {FIELDS}; did you mean 'seed'?"),
    "sweep easy_examples --config smoke --grid seeds=2,x": (2, "seeds: 'x' is not allowed, it must be a whole number"),
    "sweep easy_examples --config smoke --jobs 0": (2, "jobs: 0 is not allowed, it must be at least 1"),
    "sweep easy_examples --config smoke --launcher cloud": (2, "launcher: 'cloud' is not one of here, local, slurm"),
    "sweep easy_examples --config smoke --slurm partition": (2, "slurm: 'partition' is not KEY=VALUE"),
    "report": (2, "report: the following arguments are required: paths"),
    "report {dir}/absent": (2, None),
    "report {dir}": (2, None),
    "list everything": (2, "list: 'everything' is not an argument; see mlrisk list --help"),
    "data": (2, "data: the following arguments are required: list|prepare"),
    "data prepare": (2, "data prepare: the following arguments are required: name"),
    "data prepare mnits": (2, None),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("arguments", CASES, ids=lambda arguments: arguments or "nothing")
def test_bad_input_gets_its_line(arguments, folder, capsys, monkeypatch, as_a_user):
    monkeypatch.chdir(folder)
    code, line = CASES[arguments]
    before = {path for path in folder.rglob("*") if path.is_file()}
    assert main(arguments.format(dir=folder).split()) == code
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1, said
    assert said[0].startswith("mlrisk: ")
    if line is not None:
        assert said[0] == f"mlrisk: {line.format(dir=folder)}"
    left = {path for path in folder.rglob("*") if path.is_file()} - before
    assert not {path for path in left if path.name == "DONE"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_closed_folder_gets_its_line(folder, capsys):
    (folder / "closed").mkdir(mode=0o500)
    assert main([*RUN.split(), "--out", str(folder / "closed")]) == 4
    assert "permission denied; choose another --out" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["run"], ["sweep"], ["run", "discrete_example"], ["sweep", "discrete_example"]])
def test_help_is_help(words, capsys, as_a_user):
    assert main([*words, "--help"]) == 0
    said = capsys.readouterr()
    assert not said.err
    assert ("--seeds 200" if len(words) == 1 else f"options: mlrisk {words[0]} --help") in said.out
