"""What the outcome says where a repository cannot be run as it is."""
import pytest


@pytest.mark.parametrize("files, words", [
    ({"go.mod": "module x\n", "x.go": "package main\n"}, "this seems to be a Go module (go.mod)"),
    ({"Cargo.toml": "[package]\n", "src/main.rs": "fn main() {}\n"}, '"run: cargo run --release"; where jobs have no network'),
    ({"CMakeLists.txt": "project(x)\n"}, "cmake -B build"),
    ({"requirements.txt": "x==1\n", "app.py": "print()\n"}, "name the program main.py, or add a trabajo.yaml"),
    ({"Dockerfile": "FROM scratch\n"}, "no images are built here (Dockerfile)"),
    ({"trabajo.yaml": "run: true\n\ntimeout: soon\n"}, "trabajo.yaml: line 3: timeout must be"),
    ({"package.json": '{"scripts":\n{"main" "x"}}', "main.py": "print()"}, "package.json: line 2: "),
])
def test_what_is_missing_or_wrong_is_said_with_its_place(user, worker, repositories, files, words):
    _, status, outcome = user.run(repositories(files).url)
    assert status == "Failed" and (outcome["code"], outcome["blame"]) == ("no_plan", "user"), outcome
    assert words in outcome["message"]


@pytest.mark.parametrize("files, words", [
    ({"main.sh": "#!/usr/bin/env no-such-node\n"}, "./main.sh exited with 127: no-such-node: not found on this worker"),
    ({"main.sh": "#!/opt/no-such-ruby -w\n"}, "./main.sh exited with 127: /opt/no-such-ruby: not found on this worker"),
    ({"trabajo.yaml": "run: no-such-deno x.ts\n"}, "no-such-deno x.ts exited with 127: a shell says so of a command that it did not find"),
])
def test_a_program_that_the_worker_lacks_is_named(user, worker, repositories, files, words):
    _, status, outcome = user.run(repositories(files).url)
    assert status == "Failed" and (outcome["code"], outcome["blame"], outcome["exit_code"]) == ("exit", "user", 127), outcome
    assert words in outcome["message"]
