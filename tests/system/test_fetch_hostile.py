"""Repositories and git servers that mean harm, against bin/trabajos-fetch over real HTTP: a clear outcome, in bounded time and space,
and nothing written where it does not belong."""
import hashlib
import os
import pathlib
import struct
import subprocess
import threading
import zlib

import pytest

import fetching
import trabajos
from fetching import ADVERT, altered, failed, status


@pytest.fixture
def place(tmp_path):
    with fetching.place_at(tmp_path) as place:
        yield place


def trees(place):
    return list((place.dir / "trees").glob("*/*"))


def pkt(line):
    return b"%04x" % (len(line) + 4) + line


# ---- trees


DOT_GITS = (".git", ".GIT", ".gIt", ".git ", ".git.", ".git . .", ".git::$INDEX_ALLOCATION", ".git:x", ".git\\hooks", "git~1", "GIT~1",
            "git~1.", ".g\u200cit", "\u200f.git", ".git\ufeff", ".gi\u202et", ".g\u206aI\u200dt")


@pytest.mark.parametrize("name", DOT_GITS)
def test_a_name_that_some_file_system_takes_for_dot_git_is_refused(place, name):
    hook = place.raw_tree([("100755", "post-checkout", place.blob("#!/bin/sh\ntouch /tmp/owned\n"))])
    place.commit_tree(place.raw_tree([("40000", name, place.raw_tree([("40000", "hooks", hook)]))]))
    assert "means .git" in failed(place.fetch(), "fetch", "user")
    assert trees(place) == []


@pytest.mark.parametrize("name, words", [
    ("a/b", "slash"), ("..", "dots"), (".", "dots"), ("x" * 256, "longer than 255")])
def test_a_name_that_is_no_name_is_refused(place, name, words):
    place.commit_tree(place.raw_tree([("100644", name, place.blob("x"))]))
    message = failed(place.fetch(), "fetch", "user")
    assert words in message or "broken" in message  # libgit2 reads no tree with some of them
    assert trees(place) == []


def test_names_that_are_only_absurd_are_written_as_they_are(place):
    names = [b"-rf", b"$(reboot)", b"'", b'"', b"\n", b"\x1b[2J", b"\xff\xfe", b"a\\b", "日本".encode(), b"x" * 255, b".gitignore", b"con", b"~"]
    place.commit_tree(place.raw_tree([("100644", name, place.blob("x")) for name in sorted(names)]))
    answer = place.fetch()
    assert sorted(os.listdir(os.fsencode(place.dir / answer["tree"]))) == sorted(names)


def test_a_link_is_never_followed_while_the_tree_is_written(place, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    link, evil = place.blob(str(outside)), place.raw_tree([("100644", "evil", place.blob("x"))])
    for order in ([("120000", "a", link), ("40000", "a", evil)], [("40000", "a", evil), ("120000", "a", link)]):
        place.commit_tree(place.raw_tree(order))
        assert "twice" in failed(place.fetch(), "fetch", "user")
        assert trees(place) == [] and list(outside.iterdir()) == []


def test_links_out_of_the_tree_stay_links_and_are_not_read(place):
    entries = [("120000", "etc", place.blob("/etc")), ("120000", "self", place.blob("self")), ("120000", "trabajo.yaml", place.blob("/etc/passwd"))]
    place.commit_tree(place.raw_tree(entries))
    answer = place.fetch()
    assert os.readlink(place.dir / answer["tree"] / "etc") == "/etc"
    assert "leads out of the repository" in answer["plan_error"] and "root" not in str(answer)


@pytest.mark.parametrize("target", [b"", b"a\0b", b"x" * 5000])
def test_a_link_that_is_none_is_refused(place, target):
    place.commit_tree(place.raw_tree([("120000", "l", place.blob(target))]))
    assert "symbolic link that is none" in failed(place.fetch(), "fetch", "user")


def test_submodules_filters_and_lfs_run_and_fetch_nothing(place, tmp_path):
    owned = tmp_path / "owned"
    modules = f'[submodule "x"]\n\tpath = sub\n\turl = -u./evil.sh\n\tupdate = !touch {owned}\n'
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12\n"
    files = {".gitmodules": modules, ".lfsconfig": f"[lfs]\n\turl = {place.base}lfs\n", "big.bin": pointer,
             ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs\n*.txt filter=evil\n", "a.txt": "x$Id$\r\n", "evil.sh": f"#!/bin/sh\ntouch {owned}\n"}
    entries = [("100755" if name.endswith(".sh") else "100644", name, place.blob(text)) for name, text in files.items()]
    place.commit_tree(place.raw_tree(sorted(entries + [("160000", "sub", "1" * 40)], key=lambda entry: entry[1])))
    tree = place.dir / place.fetch()["tree"]
    assert (list((tree / "sub").iterdir()), (tree / "big.bin").read_text()) == ([], pointer)
    assert (tree / "a.txt").read_bytes() == b"x$Id$\r\n"
    assert not owned.exists() and all("/r.git/" in path for path in place.server.requests)


def test_a_tree_that_is_folded_a_thousandfold_costs_neither_time_nor_disk(place):
    tree = place.raw_tree([("100644", f"f{n}", place.blob("x")) for n in range(10)])
    for _ in range(12):
        tree = place.raw_tree([("40000", f"d{n}", tree) for n in range(10)])
    place.commit_tree(tree)
    assert "too many files" in failed(place.fetch(files=200000, tree_bytes=1 << 40), "fetch", "limit")
    assert trees(place) == []


def test_a_file_that_unpacks_to_a_flood_is_not_written(place):
    place.commit_tree(place.raw_tree([("100644", "zeros", place.blob(bytes(1 << 25)))]))
    assert "too large" in failed(place.fetch(tree_bytes=1 << 24), "fetch", "limit")
    assert trees(place) == []


def deep(place, levels, name="d"):
    tree = place.raw_tree([("100644", "f", place.blob("x"))])
    for _ in range(levels):
        tree = place.raw_tree([("40000", name, tree)])
    place.commit_tree(tree)


def test_trees_are_written_to_a_bounded_depth_and_length_of_path(place):
    deep(place, 100)
    assert place.fetch()["files"] == 101
    deep(place, 101)
    assert "too deep" in failed(place.fetch(), "fetch", "limit")
    deep(place, 18, "n" * 240)
    assert "too long a path" in failed(place.fetch(), "fetch", "limit")
    assert len(trees(place)) == 2  # the first one, and what is known of it


def test_a_long_chain_of_deltas_and_of_tags_is_followed(place):
    place.make("r.git")
    lines = [f"line {number} of a file that only grows\n" for number in range(1500)]
    story = "".join(f"commit refs/heads/main\ncommitter a <a@b> {n} +0000\ndata 1\nx\nM 644 inline f\ndata {sum(map(len, lines[:n + 1]))}\n"
                    + "".join(lines[:n + 1]) for n in range(0, 1500, 2))
    place.git("r.git", "fast-import", "--quiet", "--depth=4000", input=story)
    place.git("r.git", "repack", "-adfq", "--depth=4000", "--window=4")
    tag = place.git("r.git", "rev-parse", "main")
    kind = "commit"
    for number in range(100):
        tag = place.git("r.git", "mktag", input=f"object {tag}\ntype {kind}\ntag t{number}\ntagger a <a@b> 1 +0000\n\nx\n")
        kind = "tag"
    place.git("r.git", "update-ref", "refs/tags/deep", tag)
    answer = place.fetch(ref="deep")
    assert (place.dir / answer["tree"] / "f").read_text().count("\n") == 1499


def test_a_repository_within_a_repository_is_a_folder_of_files(place):
    files = {"HEAD": "ref: refs/heads/main\n", "config": "[core]\n\tbare = true\n\tfsmonitor = touch /tmp/owned\n\thooksPath = .\n", "packed-refs": "x\n"}
    entries = [("100644", name, place.blob(text)) for name, text in files.items()]
    info = place.raw_tree([("100644", "alternates", place.blob("../../objects\n/\n"))])
    entries += [("40000", "objects", place.raw_tree([("40000", "info", info)])), ("40000", "refs", place.raw_tree([("100644", "x", place.blob("x"))]))]
    place.commit_tree(place.raw_tree(sorted(entries, key=lambda entry: entry[1])))
    commit = place.fetch()["commit"]
    assert place.fetch()["commit"] == commit


# ---- objects


@pytest.mark.parametrize("what", ["tree", "parent", "blob"])
def test_a_commit_of_which_something_is_missing_is_the_repositorys_fault_or_fetched_anew(place, what):
    good = place.commit()
    missing = "12" * 20
    if what == "blob":
        place.commit_tree(place.raw_tree([("100644", "f", missing)]))
    else:
        tree = missing if what == "tree" else place.git("r.git", "rev-parse", "main^{tree}")
        raw = f"tree {tree}\nparent {missing if what == 'parent' else good}\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n"
        place.git("r.git", "update-ref", "refs/heads/main", place.git("r.git", "hash-object", "-w", "-t", "commit", "--literally", "--stdin", input=raw))
    answer = place.fetch()
    assert not answer["ok"] and answer["code"] == "fetch", answer
    assert place.fetch(ref=good)["ok"] is False  # its server gives nothing whole any more
    place.git("r.git", "update-ref", "refs/heads/main", good)
    assert place.fetch()["commit"] == good


def test_a_tag_of_what_is_no_commit_is_not_found(place):
    place.commit()
    place.git("r.git", "update-ref", "refs/tags/blob", place.blob("x"))
    assert "no commit" in failed(place.fetch(ref="blob"), "not_found", "user")


def test_alternates_that_lead_in_a_circle_hang_nothing(place):
    place.commit()
    (place.root / "r.git/objects/info/alternates").write_text(f"{place.root}/r.git/objects\n../objects\n")
    assert place.fetch()["ok"]


def test_a_repository_of_sha256_objects_is_refused_in_words(place):
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", "--object-format=sha256", place.root / "new.git"], check=True)
    tree = place.git("new.git", "mktree", input="")
    place.git("new.git", "update-ref", "refs/heads/main", place.git("new.git", "commit-tree", "-m", "x", tree))
    assert "SHA-256" in failed(place.fetch("new.git"), "fetch", "user")


# ---- refs


def test_hundred_thousands_of_refs_cost_one_file(place):
    commit = place.commit()
    (place.root / "r.git/packed-refs").write_text(
        "# pack-refs with: peeled fully-peeled sorted \n" + "".join(f"{commit} refs/heads/b{n:06}\n" for n in range(200000)))
    assert place.fetch(ref="b199999")["commit"] == commit
    assert sum(1 for _ in place.dir.rglob("*")) < 60


def test_more_refs_than_anybody_has_are_a_limit(place):
    first = pkt(b"%040x HEAD\0side-band-64k ofs-delta\n" % 1)
    place.server.odd["/git/many"] = lambda request: request.wfile.write(
        ADVERT + first + b"".join(pkt(b"%040x refs/heads/%06x\n" % (1, n)) for n in range(500001)) + b"0000")
    assert "refs" in failed(place.fetch("many.git"), "fetch", "limit")


BAD_REFS = (b"refs/heads/../../../../etc/x", b"refs/heads/.lock", b"refs/heads/a..b", b"refs/heads/\x1b[31m", b"refs/heads/a b", b"../x", b"/etc/passwd",
            b"refs/heads/" + b"x" * 5000, b"refs/heads/a\n" + b"1" * 40 + b" refs/heads/injected", b"refs", b"HEAD", b"refs/heads/main/x", b"refs/tags/main")


def test_refs_with_names_that_are_none_are_left_out(place):
    commit = place.commit()
    lines = b"".join(pkt(commit.encode() + b" " + name + b"\n") for name in BAD_REFS)
    place.server.odd["/git/r.git/info/refs"] = altered(lambda content: content[:-4] + lines + b"0000")
    answer = place.fetch(ref="main")
    assert answer["ok"] or answer["blame"] in ("user", "platform")
    names = [path.name for path in place.dir.glob("mirrors/*/packed-refs")]
    text = "".join(path.read_text() for path in place.dir.glob("mirrors/*/packed-refs"))
    assert "injected" not in text and ".." not in text and "\x1b" not in text, names
    assert not list(pathlib.Path(place.dir).rglob("injected"))


# ---- servers


@pytest.mark.parametrize("change", [
    lambda pack: pack[:len(pack) // 2], lambda pack: pack[:-30], lambda pack: b"", lambda pack: pack[:100],
    # at the end: a slow server says before the pack how far it is
    lambda pack: pack[:-600] + bytes(byte ^ 0x55 for byte in pack[-600:-500]) + pack[-500:], lambda pack: pack.replace(b"PACK", b"KCAP"),
    lambda pack: pack[:-4] + b"ffff", lambda pack: b"zzzz" + pack], ids=range(8))
def test_a_pack_that_is_cut_off_or_changed_on_the_way_is_not_used(place, change):
    commit = place.commit(files={f"f{n}": os.urandom(100).hex() for n in range(20)})
    place.server.odd["/git/r.git/git-upload-pack"] = altered(change)
    assert place.fetch()["code"] == "fetch"
    assert trees(place) == []
    place.server.odd.clear()
    assert place.fetch()["commit"] == commit


def sideband(band, data):
    return pkt(bytes([band]) + data)


def pack_answer(head, content):
    return lambda request: request.say(200, {"Content-Type": "application/x-git-upload-pack-result", "Connection": "close"}, head + content)


def test_a_pack_that_announces_billions_of_objects_is_a_limit(place):
    place.commit()
    place.server.odd["/git/r.git/git-upload-pack"] = pack_answer(
        pkt(b"NAK\n"), sideband(1, b"PACK" + struct.pack(">II", 2, 0xfffffff0) + bytes(2000)) + b"0000")
    assert "too many objects" in failed(place.fetch(), "fetch", "limit")


def test_a_pack_of_another_repository_is_not_taken_for_the_commit(place):
    place.commit()
    place.commit("other.git", files={"other": "x"})
    pack = place.git("other.git", "pack-objects", "--all", "--stdout", input=b"", text=False)
    place.server.odd["/git/r.git/git-upload-pack"] = pack_answer(pkt(b"NAK\n"), sideband(1, pack) + b"0000")
    assert place.fetch()["code"] == "fetch"
    assert trees(place) == []


def packed(kind, size, content=b"", before=b""):
    """One object of a pack, with the size that it claims."""
    head = bytearray()
    byte, size = (kind << 4) | (size & 15), size >> 4
    while size:
        head.append(byte | 0x80)
        byte, size = size & 0x7f, size >> 7
    head.append(byte)
    return bytes(head) + before + zlib.compress(content)


def number(value):
    """As a delta writes sizes."""
    out = bytearray()
    while value > 0x7f:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


COMMIT, BLOB, OFS_DELTA, REF_DELTA = 1, 3, 6, 7
BASE = packed(BLOB, 10, b"0123456789")
LIES = {
    "a commit of a terabyte": [packed(COMMIT, 1 << 40, b"tree ")],
    "a blob of a terabyte": [packed(BLOB, 1 << 40, bytes(100000))],
    "a blob of 2^63 bytes": [packed(BLOB, (1 << 63) + 5, b"x")],
    "a blob shorter than it says": [packed(BLOB, 1000, b"x")],
    "a blob longer than it says": [packed(BLOB, 1, bytes(1 << 24))],
    "a delta to a terabyte": [BASE, packed(OFS_DELTA, 12, number(10) + number(1 << 40) + b"\x90\x0a", bytes([len(BASE)]))],
    "a delta from beyond its base": [BASE, packed(OFS_DELTA, 9, number(10) + number(10) + b"\xb1\xff\x0a", bytes([len(BASE)]))],
    "a delta of itself": [packed(OFS_DELTA, 4, number(10) + number(10) + b"\x90\x0a", b"\x00")],
    "a delta of what comes before the pack": [packed(OFS_DELTA, 4, number(10) + number(10) + b"\x90\x0a", b"\xff\xff\x7f")],
    "a delta of a missing object": [packed(REF_DELTA, 4, number(10) + number(10) + b"\x90\x0a", bytes(20))],
    "an object of no kind": [packed(5, 1, b"x"), packed(0, 1, b"x")],
}


@pytest.mark.parametrize("name", LIES)
def test_objects_that_lie_about_themselves_cost_no_memory_and_are_not_taken(place, name):
    commit = place.commit()
    pack = b"PACK" + struct.pack(">II", 2, len(LIES[name])) + b"".join(LIES[name])
    pack += hashlib.sha1(pack).digest()
    place.server.odd["/git/r.git/git-upload-pack"] = pack_answer(pkt(b"NAK\n"), sideband(1, pack) + b"0000")
    assert place.fetch(memory_bytes=1 << 30)["code"] == "fetch"
    assert trees(place) == []
    place.server.odd.clear()  # what has come does no harm to what comes
    assert place.fetch()["commit"] == commit


@pytest.mark.parametrize("size, content", [(1000, b"x"), (1, bytes(1 << 24)), (1 << 40, bytes(100000)), (1 << 29, b"x")], ids=range(4))
def test_a_file_that_lies_about_its_size_is_never_written(place, size, content):
    def id_of(kind, body, claimed=None):
        return hashlib.sha1(b"%s %d\0" % (kind, len(body) if claimed is None else claimed) + body).digest()

    tree = b"100644 f\0" + id_of(b"blob", content, size)
    commit = b"tree %s\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n" % id_of(b"tree", tree).hex().encode()
    pack = b"PACK" + struct.pack(">II", 2, 3) + packed(COMMIT, len(commit), commit) + packed(2, len(tree), tree) + packed(BLOB, size, content)
    pack += hashlib.sha1(pack).digest()
    tip = id_of(b"commit", commit).hex().encode()
    place.server.odd["/git/liar.git/info/refs"] = lambda request: request.wfile.write(
        ADVERT + pkt(tip + b" HEAD\0side-band-64k ofs-delta\n") + pkt(tip + b" refs/heads/main\n") + b"0000")
    place.server.odd["/git/liar.git/git-upload-pack"] = pack_answer(
        pkt(b"NAK\n"), b"".join(sideband(1, pack[at:at + 60000]) for at in range(0, len(pack), 60000)) + b"0000")
    answer = place.fetch("liar.git", memory_bytes=1 << 30)
    assert answer.get("code") == "fetch" and answer["blame"] in ("user", "limit"), answer
    assert trees(place) == []


def endless(chunk):
    def act(request):
        request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-result\r\n\r\n" + pkt(b"NAK\n"))
        for _ in range(1000000):
            request.wfile.write(chunk)
    return act


@pytest.mark.parametrize("chunk", [sideband(2, b"remote: soon\n") * 20000, pkt(b"NAK\n") * 20000, sideband(1, bytes(60000)) * 10],
                         ids=["progress", "NAKs", "zeros"])
def test_a_server_that_never_comes_to_an_end_is_cut_off(place, chunk):
    place.commit()
    place.server.odd["/git/r.git/git-upload-pack"] = endless(chunk)
    assert place.fetch(pack_bytes=1 << 20)["code"] == "fetch"


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n"


@pytest.mark.parametrize("text", [
    HEAD + b"X: y\r\n" * 3000000, HEAD + b"X: " + b"y" * 10000000 + b"\r\n\r\n", HEAD + b"Content-Length: 99999999999999999999\r\n\r\n",
    HEAD + b"Content-Length: -1\r\n\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx", HEAD + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 100000, b"HTTP/1.1 999 Odd\r\n\r\n", b"\0" * 1000000, HEAD + b"Content-Length: 10\r\n\r\n0000"], ids=range(10))
def test_http_that_is_none_ends_in_an_outcome(place, text):
    place.server.odd["/git/odd"] = lambda request: request.wfile.write(text)
    assert place.fetch("odd.git")["ok"] is False


def test_dumb_http_is_not_found_in_words(place):
    place.commit()
    place.git("r.git", "update-server-info")
    content = (place.root / "r.git/info/refs").read_bytes()
    place.server.odd["/git/r.git/info/refs"] = lambda request: request.say(200, {"Content-Type": "text/plain", "Connection": "close"}, content)
    assert "smart HTTP" in failed(place.fetch(), "not_found", "user")


def test_no_proxy_of_the_environment_is_used(place, tmp_path):
    commit = place.commit()
    with fetching.place_at(tmp_path / "proxy") as proxy:
        proxy.server.odd["/"] = proxy.server.odd["http"] = status(502)
        names = {name: proxy.base for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")}
        assert place.fetch(environment=names)["commit"] == commit
        assert proxy.server.requests == []


def test_no_configuration_of_git_is_read(place, tmp_path):
    place.commit()
    config = tmp_path / ".gitconfig"
    config.write_text(f'[url "http://127.0.0.1:1/"]\n\tinsteadOf = {place.base}\n[http]\n\tproxy = http://127.0.0.1:1/\n[core]\n\tcompression = x\n')
    names = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "GIT_CONFIG_GLOBAL": str(config), "GIT_CONFIG_SYSTEM": str(config)}
    assert place.fetch(environment=names)["ok"]


def test_a_server_that_drips_for_ever_is_left_at_the_time_limit(stack, place, no_worker):
    over = threading.Event()

    def drip(request):
        request.wfile.write(ADVERT + b"fff0")  # a line of 65,000 bytes
        while not over.wait(0.05):
            request.wfile.write(b"1")

    place.commit()
    place.server.odd["/git/slow"] = drip
    allow = {"GIT_ALLOW": place.base}
    frontend = trabajos.frontend(stack, "slow-frontend", **allow)
    worker = trabajos.worker(stack, "slow", FETCH_TIMEOUT_S=2, MAX_ATTEMPTS=1, **allow)
    try:
        with trabajos.running(frontend, worker):
            user = trabajos.User(stack, frontend.url, "user")
            slow = [user.add(place.base + "slow.git") for _ in range(2)]  # in both slots: one at work, one that waits for it
            trabajos.wait_for("the slow server is asked", lambda: any("slow" in path for path in place.server.requests))
            assert user.run(place.base + "r.git")[1] == "Finished"
            for key in slow:
                assert user.await_end(key) == "Failed"
                outcome = user.outcome(key)
                assert (outcome["code"], outcome["blame"]) == ("fetch", "platform") and "longer than 2 s" in outcome["message"], outcome
    finally:
        over.set()
