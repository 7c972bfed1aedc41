"""bin/trabajos-fetch itself, against git http-backend and servers that misbehave; no stack is needed."""
import os
import signal
import subprocess
import threading
import time

import pytest

import fetching
from fetching import ADVERT, PROGRAM, failed, status


@pytest.fixture
def place(tmp_path):
    with fetching.place_at(tmp_path) as place:
        yield place


def test_a_commit_is_fetched_with_its_plan_and_again_without_the_remote(place):
    commit = place.commit()
    answer = place.fetch()
    assert (answer["commit"], answer["remote"], answer["plan"]["command"]) == (commit, True, "./main.sh")
    assert (place.dir / answer["tree"] / "main.sh").read_text() == "#!/bin/sh\n"
    asked = len(place.server.requests)
    again = place.fetch(ref=commit.upper())
    assert (again["tree"], again["remote"], len(place.server.requests)) == (answer["tree"], False, asked)


def test_a_branch_is_asked_for_again_and_only_what_changed_is_fetched(place):
    place.commit()
    place.fetch()
    second = place.commit(files={"main.py": "x"})
    answer = place.fetch(ref="main")
    assert (answer["commit"], answer["plan"]["kind"]) == (second, "main.py")
    assert sum("git-upload-pack" in r and "info/refs" not in r for r in place.server.requests) == 2
    place.fetch(ref="main")
    assert sum("git-upload-pack" in r and "info/refs" not in r for r in place.server.requests) == 2


def test_what_a_change_costs_does_not_depend_on_the_repositorys_size(place):
    files = {f"f{number}": os.urandom(20000).hex() for number in range(20)}
    place.commit(files=files)
    first = place.fetch()["added_bytes"] - sum(-(-len(text) // 4096) * 4096 for text in files.values())
    pack = sum(path.stat().st_size for path in place.dir.rglob("*.pack"))
    place.commit(files={**files, "f0": "changed"})
    place.fetch()
    assert first > 400000 and sum(path.stat().st_size for path in place.dir.rglob("*.pack")) - pack < 20000


def test_many_small_changes_are_kept_together_and_nothing_is_fetched_twice(place):
    files = {f"f{number}": os.urandom(20000).hex() for number in range(4)}
    commits = [place.commit(files=files)]
    place.fetch()
    for number in range(27):
        commits.append(place.commit(files={**files, "f0": f"change {number}"}))
        assert place.fetch(ref="main")["commit"] == commits[-1]
    packs = sorted(path.stat().st_size for path in place.dir.rglob("*.pack"))
    assert len(packs) <= 25 and packs[-1] > 80000 and sum(packs[:-1]) < 20000
    assert not list(place.dir.rglob("pack_*")) and len(list(place.dir.rglob("*.idx"))) == len(packs)
    for path in place.dir.glob("trees/*/*.json"):
        path.unlink()
    for number in (0, 1, 15, 27):
        answer = place.fetch(ref=commits[number])
        assert answer["remote"] is False
        assert (place.dir / answer["tree"] / "f0").read_text() == (files["f0"] if number == 0 else f"change {number - 1}")


def test_refs_mean_what_git_means(place):
    first = place.commit()
    place.git("r.git", "tag", "-a", "-m", "x", "v1", first)
    place.git("r.git", "update-ref", "refs/pull/7/head", first)
    second = place.commit()
    for ref, commit in ((None, second), ("HEAD", second), ("main", second), ("refs/heads/main", second), ("v1", first),
                        ("tags/v1", first), ("refs/tags/v1", first), ("refs/pull/7/head", first), (first, first)):
        assert place.fetch(ref=ref)["commit"] == commit
    for ref in ("nope", "refs/heads/nope", first[:12], "0" * 40):
        assert ref in failed(place.fetch(ref=ref), "not_found", "user")


def test_a_commit_that_no_ref_reaches_is_not_found(place):
    place.commit()
    orphan = place.git("r.git", "commit-tree", "-m", "orphan", "main^{tree}")
    failed(place.fetch(ref=orphan), "not_found", "user")


def test_a_commit_of_one_url_is_not_served_for_another(place):
    secret = place.commit("secret.git")
    place.commit("r.git", files={"x": "y"})
    place.fetch("secret.git")
    failed(place.fetch("r.git", ref=secret), "not_found", "user")


def test_empty_and_missing_repositories_are_not_found(place):
    subprocess.run(["git", "init", "-q", "--bare", place.root / "empty.git"], check=True)
    assert "empty" in failed(place.fetch("empty.git"), "not_found", "user")
    failed(place.fetch("nope.git"), "not_found", "user")


@pytest.mark.parametrize("url, code", [
    ("file:///etc", "denied"), ("ssh://git@h.org/x", "denied"), ("https://127.0.0.1/x", "denied"), ("http://localhost/x", "denied"),
    ("https://[::ffff:10.0.0.1]/x", "denied"), ("https://u:hunter2@h.org/x", "not_found"), ("no url://h.org", "not_found")])
def test_urls_that_may_not_be_fetched_are_refused(place, url, code):
    answer = place.fetch(url)
    assert "hunter2" not in failed(answer, code, "user")
    assert place.server.requests == []


@pytest.mark.parametrize("act, code, blame", [
    (status(401, b'WWW-Authenticate: Basic realm="x"\r\n'), "not_found", "user"), (status(403), "not_found", "user"),
    (status(404), "not_found", "user"), (status(500), "fetch", "platform"), (status(429), "fetch", "platform"),
    (lambda request: request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi"), "not_found", "user"),
    (lambda request: request.wfile.write(ADVERT[:-9]), "fetch", "platform"),
    (lambda request: request.wfile.write(ADVERT + b"fff0" + b"x" * 100), "fetch", "platform"),
    (lambda request: request.wfile.write(b"\0\1\2garbage"), "fetch", "platform"),
    (lambda request: None, "fetch", "platform")])
def test_servers_that_refuse_or_talk_nonsense_are_told_apart(place, act, code, blame):
    place.server.odd["/git/odd"] = act
    failed(place.fetch("odd.git"), code, blame)


# Out of a repository's own folder, to servers that resolve the path that they are asked for.
WAYS_UP = {"below": "../../other/r.git", "encoded": "%2e%2e/%2E%2E/other/r.git", "separator": "..%2f..%2Fother/r.git",
           "backslash": "..%5c..%5Cother/r.git", "same": "../r.git", "inside": "r.git"}


def test_redirects_lead_nowhere_else(place):
    place.commit()
    port = place.server.server_port
    own = f"http://127.0.0.1:{port}/git/{{}}.git/"
    targets = {"path": "/other/r.git", "port": f"http://127.0.0.1:{port + 1}/git/r.git", "host": f"http://localhost:{port}/git/r.git",
               "scheme": f"https://127.0.0.1:{port}/git/r.git", "up": "/git/../other/r.git",
               **{name: own.format(name) + way for name, way in WAYS_UP.items()}}
    for name, target in targets.items():
        rest = "/info/refs?service=git-upload-pack"
        place.server.odd[f"/git/{name}.git"] = status(301, f"Location: {target}{rest}\r\n".encode())
        failed(place.fetch(f"{name}.git"), "denied", "user")
    assert place.server.requests == [f"/git/{name}.git/info/refs?service=git-upload-pack" for name in targets]


def test_a_server_that_never_stops_talking_is_cut_off(place):
    chunk = b"".join(b"003e%040x refs/heads/%05x\n" % (number, number) for number in range(20000))

    def flood(request):
        request.wfile.write(ADVERT)
        for _ in range(1000):
            request.wfile.write(chunk)
    place.server.odd["/git/flood"] = flood
    failed(place.fetch("flood.git", pack_bytes=1 << 20), "fetch", "limit")


def test_too_large_packs_trees_and_file_counts_are_limits(place):
    place.commit(files={f"f{number}": os.urandom(20000).hex() for number in range(20)})
    failed(place.fetch(pack_bytes=50000), "fetch", "limit")
    failed(place.fetch(files=10), "fetch", "limit")
    failed(place.fetch(tree_bytes=100000), "fetch", "limit")
    assert place.fetch()["files"] == 20


def test_many_refs_cost_one_file(place):
    commit = place.commit()
    (place.root / "r.git/packed-refs").write_text(
        "# pack-refs with: peeled fully-peeled sorted \n" + "".join(f"{commit} refs/heads/b{n:05}\n" for n in range(20000)))
    assert place.fetch(ref="b19999")["commit"] == commit
    assert sum(1 for _ in place.dir.rglob("*")) < 60


def test_fetches_of_one_url_at_once_fetch_it_once(place):
    commit = place.commit(files={f"f{number}": os.urandom(1000).hex() for number in range(100)})
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(place.fetch())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.get("commit") for answer in answers] == [commit] * 6
    assert sum(answer["added_bytes"] > 0 for answer in answers) == 1


def test_a_fetch_that_is_killed_at_any_moment_leaves_nothing_that_hurts(place):
    commit = place.commit(files={f"f{number}": os.urandom(1000).hex() for number in range(300)})
    for number in range(12):
        child = subprocess.Popen([PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        child.stdin.write(place.order("r.git").encode())
        child.stdin.close()
        time.sleep(0.008 * number)  # the moment is what varies here: nothing is awaited
        child.send_signal(signal.SIGKILL)
        child.wait()
    answer = place.fetch()
    assert answer["commit"] == commit
    assert len(list((place.dir / answer["tree"]).iterdir())) == answer["files"] == 300


@pytest.mark.parametrize("by_commit", [False, True])
@pytest.mark.parametrize("what", ["pack", "idx", "HEAD", "config", "packed-refs", "json"])
def test_damage_is_noticed_and_repaired(place, what, by_commit):
    commit = place.commit(files={f"f{number}": os.urandom(1000).hex() for number in range(50)})
    answer = place.fetch()
    files = [path for path in place.dir.rglob("*") if path.is_file() and (path.name == what or path.suffix == "." + what)]
    assert files
    for path in files:
        path.chmod(0o600)
        data = bytearray(path.read_bytes())
        for at in range(0, len(data), 7):
            data[at] ^= 0x55
        path.write_bytes(data)
    if what != "json":
        for path in place.dir.glob("trees/*/*.json"):
            path.unlink()
    again = place.fetch(ref=commit) if by_commit else place.fetch()
    assert again["commit"] == commit, again
    for path in (place.dir / again["tree"]).iterdir():
        assert path.read_text() == place.git("r.git", "cat-file", "blob", f"{commit}:{path.name}")
    assert again["tree"] == answer["tree"]


@pytest.mark.parametrize("by_commit", [False, True])
def test_one_wrong_byte_of_the_commit_is_noticed_and_repaired(place, by_commit):
    commit = place.commit()
    place.fetch()
    pack, = place.dir.rglob("*.pack")
    pack.chmod(0o600)
    data = bytearray(pack.read_bytes())
    data[20] ^= 0x55  # the commit comes first
    pack.write_bytes(data)
    for path in place.dir.glob("trees/*/*.json"):
        path.unlink()
    again = place.fetch(ref=commit) if by_commit else place.fetch()
    assert again.get("commit") == commit, again


def test_mirrors_and_trees_make_room_in_the_order_of_their_last_use(place):
    names = [f"r{number}.git" for number in range(4)]
    commits = {name: place.commit(name, files={"f": os.urandom(50000).hex()}) for name in names}
    answers = {name: place.fetch(name) for name in names}
    for age, name in zip((4000, 1000, 3000, 2000), names):
        for path in (place.dir / f"mirrors/{answers[name]['mirror']}.lock", place.dir / (answers[name]["tree"] + ".json")):
            os.utime(path, (time.time() - age,) * 2)
    whole = place.evict(1 << 40)["bytes"]
    mirror = sum(path.stat().st_blocks * 512 for path in (place.dir / "mirrors" / f"{answers[names[0]]['mirror']}.git").rglob("*"))

    def left(folder):
        there = {path.name for path in (place.dir / folder).iterdir()}
        return [name for name in names if any(answers[name]["mirror"] in entry and not entry.endswith(".lock") and
                                              (folder == "mirrors" or list((place.dir / folder / entry).glob("*.json"))) for entry in there)]
    place.evict(whole - answers[names[0]]["bytes"] * 2)
    assert (left("trees"), left("mirrors")) == ([names[1], names[3]], names)
    place.evict(mirror * 2 + mirror // 2)
    assert (left("trees"), left("mirrors")) == ([], [names[1], names[3]])
    assert place.fetch(names[1], commits[names[1]])["remote"] is False
    assert place.fetch(names[0], commits[names[0]])["remote"] is True


def test_a_commit_that_a_branch_no_longer_has_is_still_served_where_it_was_resolved(place):
    first = place.commit()
    place.fetch()
    place.git("r.git", "update-ref", "refs/heads/main", place.git("r.git", "commit-tree", "-m", "new", "main^{tree}"))
    place.fetch(ref="main")
    assert place.fetch(ref=first)["remote"] is False


def test_garbage_instead_of_an_order_is_an_exit_code(place):
    for text in ("", "\n", "{}\n", '{"op":"fetch"}\n', '{"op":"dance","dir":"/"}\n', "[" * 100000 + "\n", place.order("x")[:-1]):
        done = subprocess.run([PROGRAM], input=text, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
    assert subprocess.run([PROGRAM, "--help"], stderr=subprocess.DEVNULL, check=False).returncode == 64
