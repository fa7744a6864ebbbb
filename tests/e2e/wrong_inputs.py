"""What people get wrong, and what they are told: a table for tests/e2e/test_wrong_inputs.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

RECIPE = "type: job\nspec:\n  name: trial\n  instance_type: local\n  scale: 2\n"
BATCH = '{"remote_output_path": "out", "runs": [{"cmd": "true"}]}'
_NAMES = "abcdefghijklmnopqrstuvwxyz"
BOMB = "remote_output_path: out\nruns:\n- - &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"  - &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip(_NAMES, _NAMES[1:])
)


@dataclass(frozen=True)
class Wrong:
    """Some files, the words typed, and a part of each line that has to come back, in this order."""

    title: str
    words: Sequence[str]
    told: Sequence[str]
    files: Mapping[str, str] = field(default_factory=dict)
    code: int = 2
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: str = ""
    bytes_of: Mapping[str, bytes] = field(default_factory=dict)


def batch(title: str, text: str, *told: str, name: str = "batch.json") -> Wrong:
    return Wrong(title, ["batch", name], told, {name: text})


def runs(title: str, text: str, *told: str) -> Wrong:
    """A batch whose `runs` are wrong."""
    return batch(title, f'{{"remote_output_path": "out", "runs": {text}}}', *told)


def recipe(title: str, spec: str, *told: str) -> Wrong:
    """A recipe whose `spec` is wrong."""
    files = {"recipe.yaml": f"type: job\nspec:\n{spec}", "batch.json": BATCH}
    return Wrong(title, ["split", "recipe.yaml", "batch.json", "commands"], told, files)


def words(title: str, typed: str, *told: str) -> Wrong:
    """Good files, and a wrong word."""
    return Wrong(title, typed.split(), told, {"recipe.yaml": RECIPE, "batch.json": BATCH})


FILES = [
    Wrong("no such batch", ["batch", "nowhere.json"], ["nowhere.json"]),
    Wrong("a folder for a batch", ["batch", "."], [".: "]),
    Wrong("nothing on stdin", ["batch", "-"], ["standard input"]),
    Wrong(
        "not UTF-8", ["batch", "b.json"], ["UTF-8"], bytes_of={"b.json": b'{"runs": "\xff\xfe"}'}
    ),
    batch("empty", "", "is empty"),
    batch("broken JSON", '{"runs": [}', "batch.json: "),
    batch("broken YAML", "runs: [\n- cmd: 'a", "batch.yaml: ", name="batch.yaml"),
    batch("alias bomb", BOMB, "batch.yaml: ", name="batch.yaml"),
    batch(
        "an object of Python", "runs: !!python/object/apply:os.system [x]", "b.yaml", name="b.yaml"
    ),
    batch("a list at the top", '[{"cmd": "true"}]', "batch.json: "),
    batch("deep nesting", "[" * 100_000, "batch.json: "),
]

SCRIPT = "cd build\nrm -rf ./*\ntouch pwned\n"


def listed(title: str, data: bytes, told: str, name: str = "list.txt") -> Wrong:
    """Something that is no list of commands, with a good output path."""
    words = ["batch", name, "--remote-output-path", "out"]
    return Wrong(title, words, [told], bytes_of={name: data})


def piped(title: str, text: str, told: str) -> Wrong:
    return Wrong(title, ["batch", "-", "--remote-output-path", "out"], [told], stdin=text)


SCRIPTS = [
    *(
        listed(f"a script named {name}", SCRIPT.encode(), f"cmd: {command}", name)
        for name, command in {
            "clean.sh": "sh clean.sh",
            "clean.SH": "sh clean.SH",
            "clean it.sh": "sh 'clean it.sh'",
            "clean.bash": "bash clean.bash",
            "clean.py": "python3 clean.py",
            "clean.slurm": "sh clean.slurm",
            "clean.txt.bak": "sh clean.txt.bak",
            "clean": "sh clean",
            "Makefile": "make -f Makefile",
            "clean.csv": "sh clean.csv",
        }.items()
    ),
    *(
        listed(f"#! in {name}", b"#!/bin/sh\n" + SCRIPT.encode(), f"cmd: sh {name}", name)
        for name in ("s.sh", "s.txt", "s.json", "s.yaml", "s.TXT", "s")
    ),
    listed("#! of bash", b"#!/usr/bin/env -S bash -eu\ntouch x\n", "cmd: bash x.sh", "x.sh"),
    listed("#! after a byte order mark", b"\xef\xbb\xbf#!/bin/sh\ntouch x\n", "#!"),
    listed("#! after a blank line", b"\n  #!/bin/sh\ntouch x\n", "#!"),
    piped("#! from a pipe", "#!/bin/sh\ntouch x\n", "cmd: sh FILE"),
    listed(
        "a script that writes a batch",
        b"cat > b.yaml <<EOF\nruns:\n- cmd: x\nEOF\ntouch pwned\n",
        "if it is a script, write it as the command of a run: cmd: sh make.sh",
        "make.sh",
    ),
    listed("a directive", b"#DISBATCH PREFIX (cd x; \ntouch pwned\n", "line 1: '#DISBATCH"),
    listed("a directive of Slurm", b"touch x\n#SBATCH --ntasks=4\n", "line 2: '#SBATCH"),
    listed("a directive of LSF", b"#BSUB -n 4\ntouch x\n", "line 1: '#BSUB"),
    listed("a directive of SGE", b"#$ -cwd\ntouch x\n", "line 1: '#$ -cwd'"),
    piped("a directive from a pipe", "#PBS -l nodes=1\ntouch x\n", "line 1: '#PBS"),
    listed("a line that goes on", b"touch \\\n  pwned\n", "line 1: ends with a backslash"),
    listed("a line that goes on, CRLF", b"touch \\\r\n  pwned\r\n", "line 1: ends with a"),
    listed("a line that goes on, blanks", b"touch a\n\ntouch \\ \nb", "line 3: ends with a"),
    piped("a line that goes on, from a pipe", "touch \\\\\\\nb\n", "line 1: ends with a"),
    listed(
        "a here-document", b"cat <<'END'\ntouch pwned\nEND\n", "line 3: 'END' ends the here-doc"
    ),
    piped("a here-document from a pipe", "cat <<-EOF >x\ntouch y\n\tEOF\n", "line 3: 'EOF' ends"),
    listed("CR for ends of lines", b"touch a\rtouch b\r", "line 1: contains a carriage return"),
    listed("CR after a comment", b"# mine\rtouch a\rtouch b\r", "line 1: contains a carriage"),
    listed("CR here and there", b"touch a\ntouch b\rtouch c\n", "line 2: contains a carriage"),
    listed("YAML in a list", b"remote_output_path: o\nruns:\n- cmd: touch a\n", "or .yaml"),
    listed("JSON in a list", BATCH.encode(), "end in .json"),
    listed("gzip", b"\x1f\x8b\x08\x00list", "is compressed with gzip", "list.txt.gz"),
    listed("zip named as JSON", b"PK\x03\x04list", "is compressed with zip", "b.json"),
]


BATCHES = [
    batch(
        "no runs", '{"remote_output_path": "out"}', "runs: a list of runs is expected, not nothing"
    ),
    runs("runs empty", "[]", "runs: there is none"),
    runs("runs no list", '{"cmd": "true"}', "runs: a list of runs is expected"),
    runs("a run that is none", "[7]", "runs[0]"),
    runs("no command", "[{}]", "runs[0].cmd"),
    runs("an empty command", '[{"cmd": ""}]', "runs[0].cmd"),
    runs("an empty list for a command", '[{"cmd": []}]', "runs[0].cmd"),
    runs("a number for a command", '[{"cmd": 7}]', "runs[0].cmd"),
    runs("NUL in a command", '[{"cmd": "a\\u0000b"}]', "runs[0].cmd"),
    runs("unknown key of a run", '[{"cmd": "true", "timout": 3}]', "did you mean timeout?"),
    runs("a timeout in words", '[{"cmd": "true", "timeout": "soon"}]', "runs[0].timeout"),
    runs("negative retries", '[{"cmd": "true", "retries": -1}]', "runs[0].retries"),
    runs("env no mapping", '[{"cmd": "true", "env": ["A=1"]}]', "runs[0].env"),
    runs("negative gpus", '[{"cmd": "true", "gpus": -1}]', "runs[0].gpus"),
    runs("an empty matrix", '[{"cmd": "{a}", "matrix": {"a": []}}]', "runs[0].matrix"),
    runs(
        "the same output twice",
        '[{"cmd": "a", "remote_output_path": "x"}, {"cmd": "b", "remote_output_path": "x"}]',
        "runs[1]",
    ),
    runs(
        "an output inside of another",
        '[{"cmd": "a", "remote_output_path": "x/y"}, {"cmd": "b", "remote_output_path": "x"}]',
        "runs[",
    ),
    runs("an output that climbs", '[{"cmd": "a", "remote_output_path": "../x"}]', "'..'"),
    runs("our own folder", '[{"cmd": "a", "remote_output_path": ".sc/x"}]', "runs[0]"),
    runs(
        "three problems at once",
        '[{"cmd": ""}, {"cmd": "a", "retries": "x"}, {"cmd": "a", "frobs": 1}]',
        "runs[0].cmd",
        "runs[1].retries",
        "runs[2]",
    ),
    runs(
        "results of two runs in one folder",
        '[{"cmd": "a", "local_results_dir": "r"}, {"cmd": "b", "local_results_dir": "./x/..//r/"}]',
        "runs[1].local_results_dir",
    ),
    runs(
        "results inside of another's",
        '[{"cmd": "a", "local_results_dir": "~/r/x"}, {"cmd": "b", "local_results_dir": "~/r"}]',
        "runs[0].local_results_dir",
    ),
    runs(
        "results of a matrix in one folder",
        '[{"cmd": "{a}", "local_results_dir": "r", "matrix": {"a": [1, 2]}}]',
        "that of another combination of its matrix; two runs",
    ),
    runs(
        "a name of the matrix, or a variable",
        '[{"cmd": "x ${lr}", "env": {"A": "${lr}"}, "matrix": {"lr": [1]}}]',
        "runs[0].cmd: ${lr} has two readings: write {lr} for",
        "runs[0].env: ${lr} has two readings",
    ),
    runs("PATH and itself", '[{"cmd": "a", "env": {"PATH": "/x:$PATH"}}]', "runs[0].env: 'PATH'"),
    runs(
        "PATH and itself, if it is set",
        '[{"cmd": ["a"], "env": {"P": "/x${P:+:$P}"}}]',
        "$P is not filled in",
    ),
    runs("a name that sh drops", '[{"cmd": "a", "env": {"spark.master": "x"}}]', "'spark.master'"),
    runs("names that sh drops", '[{"cmd": "a", "env": {"1a": "", "a-b": ""}}]', "'1a', 'a-b'"),
    batch(
        "a name that sh drops, for all",
        '{"remote_output_path": "o", "env": {"a.b": ""}, "runs": [{"cmd": "a"}, {"cmd": "b"}]}',
        "batch.json: env: /bin/sh drops",
    ),
    runs(
        "variables in folders of a machine",
        '[{"cmd": "a", "local_results_dir": "$HOME/r", "working_directory": "${X}"}]',
        "runs[0].local_results_dir: '$HOME' is not filled in",
        "runs[0].working_directory: '${X}'",
    ),
    runs(
        "variables that are not set",
        '[{"cmd": "a", "remote_output_path": "$NO_SUCH/x"}, {"cmd": "a", "remote_output_path": "${A:-b}/y"}]',
        "runs[0].remote_output_path: the environment variable 'NO_SUCH' is not set",
        "runs[1].remote_output_path: '${A:-b}' is not understood",
    ),
    batch(
        "a home of nobody",
        '{"remote_output_path": "~no-such-user/x", "runs": [{"cmd": "a"}]}',
        "the home folder of 'no-such-user' is not known",
    ),
    Wrong(
        "an empty variable in an option",
        ["batch", "batch.json", "--remote-output-path", "$EMPTY/out"],
        ["--remote-output-path: the environment variable 'EMPTY' is empty"],
        {"batch.json": BATCH},
        environment={"EMPTY": ""},
    ),
    batch("no output path", '{"runs": [{"cmd": "true"}]}', "remote_output_path: is missing"),
    batch(
        "unknown key of a batch",
        '{"remote_output_path": "out", "nproc": 2, "runs": [{"cmd": "true"}]}',
        "did you mean nprocs?",
    ),
    batch(
        "nprocs zero", '{"nprocs": 0, "remote_output_path": "o", "runs": [{"cmd": "a"}]}', "nprocs"
    ),
    batch(
        "nprocs -4", '{"nprocs": -4, "remote_output_path": "o", "runs": [{"cmd": "a"}]}', "nprocs"
    ),
    batch(
        "nprocs word",
        '{"nprocs": "x", "remote_output_path": "o", "runs": [{"cmd": "a"}]}',
        "nprocs",
    ),
    batch("unknown scheme", '{"remote_output_path": "gs://b/x", "runs": [{"cmd": "a"}]}', "gs://"),
    batch(
        "root folder", '{"remote_output_path": "/", "runs": [{"cmd": "a"}]}', "remote_output_path"
    ),
]

WORDS = [
    words("unknown command", "bacth batch.json", "did you mean batch?"),
    words("no file", "batch", "FILE"),
    words("unknown option", "batch batch.json --nproc 3", "did you mean --nprocs?"),
    words("a word too many", "batch batch.json more.json", "'more.json' is one word too many"),
    words("--nprocs -2", "batch batch.json --nprocs -2", "--nprocs"),
    words("--nprocs many", "batch batch.json --nprocs many", "--nprocs"),
    words("--max-jobs 0", "batch batch.json --max-jobs 0", "--max-jobs"),
    words("a bad name", "batch batch.json --name a/b", "--name"),
    words("unknown status", "summarize-batch batch.json --status faild", "did you mean failed?"),
    words("summary of nothing", "summarize-batch nowhere.json", "nowhere.json"),
    words("unknown kind of options", "options --option-type disks", "--option-type"),
    words("--batch-size 0", "split recipe.yaml batch.json commands --batch-size 0", "--batch-size"),
    words("--scale 0", "split recipe.yaml batch.json commands --scale 0", "scale"),
    words(
        "two folders", "split recipe.yaml batch.json a --local-commands-directory b", "COMMANDS_DIR"
    ),
    words("--sync of nothing", "split recipe.yaml batch.json commands --sync nowhere", "nowhere"),
    words("--wait alone", "split recipe.yaml batch.json commands --wait", "--start"),
    words("no such recipe", "split nowhere.yaml batch.json commands", "nowhere.yaml"),
    words("a bad job name", "split recipe.yaml batch.json commands --name -x-", "--name"),
    words("apply of nothing", "apply nowhere.yaml --start", "nowhere.yaml"),
    words("apply of what was not split", "apply recipe.yaml --start", "split"),
]

RECIPES = [
    recipe("no name", "  instance_type: local\n", "spec.name: is missing"),
    recipe("a name with blanks", "  name: a b\n  instance_type: local\n", "spec.name"),
    recipe("no machine", "  name: a\n", "spec.instance_type: is missing"),
    recipe("no such machine", "  name: a\n  instance_type: huge\n", "spec.instance_type"),
    recipe("unknown key", "  name: a\n  instance_type: local\n  scal: 3\n", "did you mean scale?"),
    recipe("scale in words", "  name: a\n  instance_type: local\n  scale: two\n", "spec.scale"),
    Wrong(
        "a deployment",
        ["split", "r.yaml", "batch.json", "commands"],
        ["type: `type: job` is expected"],
        {"r.yaml": RECIPE.replace("job", "deployment"), "batch.json": BATCH},
    ),
    Wrong(
        "a recipe that is none",
        ["split", "r.yaml", "batch.json", "commands"],
        ["r.yaml: "],
        {"r.yaml": "- a\n- b\n", "batch.json": BATCH},
    ),
    Wrong(
        "recipe and batch are wrong",
        ["split", "r.yaml", "batch.json", "commands"],
        ["r.yaml: spec.scale", "batch.json: runs"],
        {"r.yaml": RECIPE.replace("2", "0"), "batch.json": BATCH.replace('{"cmd": "true"}', "")},
    ),
    recipe(
        "a variable for the machines' folder",
        "  name: a\n  instance_type: local\n  working_directory: $HOME/x\n",
        "spec.working_directory: '$HOME'",
    ),
    recipe(
        "PATH and itself, of machines",
        "  name: a\n  instance_type: local\n  environment_variables: {PATH: '/x:$PATH'}\n",
        "spec.environment_variables: 'PATH'",
    ),
    recipe(
        "a name that sh drops, of machines",
        "  name: a\n  instance_type: local\n  environment_variables: {spark.master: x}\n",
        "spec.environment_variables: /bin/sh drops",
    ),
    Wrong(
        "results of two workers of this machine in one folder",
        ["split", "r.yaml", "batch.json", "commands", "--nprocs", "1"],
        ["batch.json: runs[0].local_results_dir"],
        {
            "r.yaml": RECIPE,
            "batch.json": BATCH.replace(
                '{"cmd": "true"}',
                '{"cmd": "{a}", "local_results_dir": "r", "matrix": {"a": [1, 2]}}',
            ),
        },
    ),
    Wrong(
        "a recipe of somebody else in the folder",
        ["split", "recipe.yaml", "batch.json", "."],
        ["was not written by 'sc split'"],
        {"recipe.yaml": RECIPE, "batch.json": BATCH},
    ),
    Wrong(
        "a file for a folder",
        ["split", "recipe.yaml", "batch.json", "batch.json"],
        ["is not a folder"],
        {"recipe.yaml": RECIPE, "batch.json": BATCH},
    ),
]

AWS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}
S3 = BATCH.replace('"out"', '"s3://a-bucket/out"')
PLACES = [
    Wrong(
        "below a file",
        ["batch", "batch.json"],
        ["batch.json/out"],
        {"batch.json": BATCH.replace('"out"', '"batch.json/out"')},
        code=3,
    ),
    Wrong(
        "sfs:// without a root",
        ["batch", "batch.json"],
        ["SC_SFS_ROOT"],
        {"batch.json": BATCH.replace('"out"', '"sfs://internal/hugo/x"')},
    ),
    Wrong("no credentials", ["batch", "batch.json"], ["credentials"], {"batch.json": S3}, code=3),
    Wrong(
        "nobody answers",
        ["batch", "batch.json"],
        ["127.0.0.1"],
        {"batch.json": S3},
        code=3,
        environment={**AWS, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
    ),
    Wrong(
        "an endpoint that is none",
        ["batch", "batch.json"],
        ["endpoint"],
        {"batch.json": S3},
        code=3,
        environment={**AWS, "AWS_ENDPOINT_URL": "nonsense"},
    ),
    Wrong(
        "a batch in S3 without credentials",
        ["batch", "s3://a-bucket/x.json"],
        ["credentials"],
        code=3,
    ),
]

TABLE = [*FILES, *SCRIPTS, *BATCHES, *WORDS, *RECIPES, *PLACES]
