"""The server of a review: what it answers, what it refuses, and that it lives on."""

import io
import json
import socket
import threading

import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="needs hanline[review]")
pytestmark = pytest.mark.slow


def png(image):
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def images(words, picture):
    return {word: png(picture(word)) for word in words}


@pytest.fixture
def server(serve):
    return serve("upload_mb=2")


def everything(client):
    return client.get("/api/items").json()["items"]


def put(client, item, **choice):
    order = {"version": item["version"], "decision": "confirmed", "text": "가나", "author": "a"}
    return client.put(f"/api/items/{item['id']}", json=order | choice)


def test_programs_have_images_read(server, images, words):
    with server.client() as client:
        files = [("images", (f"{i}.png", images[word])) for i, word in enumerate(words)]
        answer = client.post("/read", files=files)
        assert [row["text"] for row in answer.json()] == words
        assert [row["name"] for row in answer.json()] == [f"{i}.png" for i in range(len(words))]
        (one,) = client.post("/read?parts=true", files=files[8:9]).json()
        assert [part["text"] for part in one["parts"]["characters"]] == ["A"]
        described = client.get("/openapi.json").json()
        assert "post" in described["paths"]["/read"]
        assert everything(client) == []


def test_bad_input_is_refused_and_the_server_lives_on(server, images, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret", encoding="utf-8")
    host, _, port = server.base.removeprefix("http://").rpartition(":")
    address = (host, int(port))

    def raw(request):
        with socket.create_connection(address, timeout=60) as connection:
            connection.sendall(request)
            return connection.makefile("rb").read()

    with server.client() as client:
        good = {"images": ("a.png", images["A"])}

        def lives():
            return client.post("/read", files=good).json()[0]["text"] == "A"

        # Not an image.
        assert client.post("/read", files={"images": b"no image"}).status_code == 422
        refused = client.post("/api/upload", files={"files": ("x.png", b"no image")})
        assert refused.status_code == 422
        assert "no image" in refused.json()["refused"][0]["problem"]
        assert lives()
        # Too large, with its length said, and without.
        claim = (
            f"POST /read HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {server.token}"
        )
        assert b" 413 " in raw(f"{claim}\r\nContent-Length: 200000000\r\n\r\n".encode())[:20]

        def pieces():
            boundary = b"--x\r\nContent-Disposition: form-data; name=images; filename=a\r\n\r\n"
            yield boundary
            for _ in range(50):
                yield bytes(2**17)

        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        assert client.post("/read", content=pieces(), headers=kind).status_code == 413
        assert lives()
        # Out of the folder.
        for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/api/items/..%2f..%2fsecret/image"):
            answer = raw(
                f"GET {path}?token={server.token} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode()
            )
            assert b" 404 " in answer[:20] or b" 422 " in answer[:20]
            assert b"secret\n" not in answer
        client.post("/api/upload", files={"files": ("../../../evil.png", images["A"])})
        assert everything(client)[0]["name"] == "evil.png"
        assert not [*tmp_path.parent.rglob("evil.png")]
        # Another site.
        foreign = client.get("/", headers={"Host": f"evil.example:{port}"})
        assert foreign.status_code == 421
        for origin in ("http://evil.example", "null", f"https://{host}:{port}"):
            assert client.post("/read", files=good, headers={"Origin": origin}).status_code == 403
        assert client.post("/read", files=good, headers={"Origin": server.base}).status_code == 200
        # No token.
        for token in ("Bearer", "Bearer wrong", "Bearer 가".encode(), "Basic x"):
            answer = client.post("/read", files=good, headers={"Authorization": token})
            assert answer.status_code == 401
        assert client.get("/openapi.json", headers={"Authorization": ""}).status_code == 401
        # Cut off in the middle of a body.
        for _ in range(10):
            with socket.create_connection(address, timeout=60) as connection:
                connection.sendall(f"{claim}\r\nContent-Type: {kind['Content-Type']}\r\n".encode())
                connection.sendall(b"Content-Length: 1000000\r\n\r\n--x\r\nContent-Disp")
        assert lives()
        assert server.process.poll() is None


def test_decisions_survive_a_kill_and_do_not_replace_each_other(serve, folder, until):
    server = serve(f"input={folder}")
    with server.client() as client:
        items = until(lambda: (i := everything(client)) and all(x["is_read"] for x in i) and i)
        assert len(items) == 10
        assert {item["label"] for item in items} >= {"가나", "美中"}
        assert put(client, items[0], text="하나").json()["decided_text"] == "하나"
        late = put(client, items[0], text="둘", author="b")
        assert late.status_code == 409
        assert late.json()["item"]["decided_text"] == "하나"
        assert put(client, items[1], decision="not_legible").status_code == 200
        assert put(client, items[2], text=" ").status_code == 422
    server.kill()
    again = serve(f"input={folder}")
    assert again.token == server.token
    with again.client() as client:
        items = {item["id"]: item for item in everything(client)}
        assert len(items) == 10
        assert items[1]["decided_text"] == "하나"
        assert items[2]["decision"] == "not_legible"
        undone = client.post("/api/undo", json={"author": "a"}).json()["item"]
        assert (undone["id"], undone["decision"]) == (2, None)
        # What somebody else has decided since is not undone.
        assert put(client, items[1], text="셋", author="b").status_code == 200
        assert client.post("/api/undo", json={"author": "a"}).status_code == 409
        assert client.post("/api/undo", json={"author": "a"}).json()["item"] is None


def test_a_second_server_on_the_same_folder_is_refused(serve):
    serve()
    with pytest.raises(AssertionError, match="another hanline review has it open"):
        serve()


def test_a_full_queue_says_when_to_come_again(serve, images):
    server = serve("queue=8")
    many = [("images", (f"{i}.png", images["A"])) for i in range(8)]
    answers = []

    def ask():
        with server.client() as client:
            answers.append(client.post("/read", files=many))

    with server.client() as client:
        refused = client.post("/read", files=[*many, many[0]])
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
    threads = [threading.Thread(target=ask) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in answers:
        assert answer.status_code in (200, 503)
        if answer.status_code == 503:
            assert int(answer.headers["Retry-After"]) >= 1
        else:
            assert [row["text"] for row in answer.json()] == ["A"] * 8
    assert 200 in {answer.status_code for answer in answers}


def test_no_answer_is_lost_or_mixed_up(server, images, words):
    wrong, right = [], []

    def ask(number):
        with server.client() as client:
            for turn in range(10):
                chosen = [words[(number + turn + i) % len(words)] for i in range(3)]
                files = [("images", (word, images[word])) for word in chosen]
                rows = client.post("/read", files=files).json()
                (right if [row["text"] for row in rows] == chosen else wrong).append(chosen)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(right) == 80


def test_labels_of_other_tools_come_in_and_go_out(serve, images, tmp_path):
    server = serve()
    studio = [
        {
            "data": {"image": "/data/upload/1/0.png"},
            "annotations": [
                {"result": [{"value": {"text": ["가나"]}, "from_name": "t", "to_name": "image"}]}
            ],
        }
    ]
    box = {"transcription": "한글", "points": [[0, 0], [96, 0], [96, 32], [0, 32]]}
    ppocr = "p/1.png\t" + json.dumps([box]) + '\np/2.png\t[{"transcription": "###"}]\np/3.png\t[]\n'
    words = ["가나", "한글", "1", "2", "뉴스"]
    files = [("files", (f"{i}.png", images[word])) for i, word in enumerate(words)]
    files.append(("files", ("studio.json", json.dumps(studio).encode())))
    files.append(("files", ("Label.txt", ppocr.encode())))
    with server.client() as client:
        taken = client.post("/api/upload", files=files).json()
        assert (taken["added"], taken["labeled"], taken["refused"]) == (5, 4, [])
        expected = {
            "0.png": ("confirmed", "가나"),
            "1.png": ("confirmed", "한글"),
            "2.png": ("not_legible", ""),
            "3.png": ("not_a_line", ""),
            "4.png": (None, ""),
        }
        assert {
            item["name"]: (item["decision"], item["decided_text"]) for item in everything(client)
        } == expected
        for form, file in (("label_studio", "tasks.json"), ("ppocrlabel", "Label.txt")):
            made = client.post("/api/export", json={"form": form}).json()
            path = tmp_path / made["path"] / file
            other = serve(output=f"other_{form}")
            with other.client() as second:
                back = [("files", (p.name, p.read_bytes())) for p in path.parent.rglob("*.png")]
                back.append(("files", (path.name, path.read_bytes())))
                assert second.post("/api/upload", files=back).json()["labeled"] == 4
                assert sorted((i["decision"], i["decided_text"]) for i in everything(second)) == (
                    sorted(one for one in expected.values() if one[0])
                )
        broken = client.post("/api/upload", files={"files": ("x.json", b'[{"data": 1}]')})
        assert broken.status_code == 422
        assert "Label Studio" in broken.json()["refused"][0]["problem"]


def test_an_audit_opens_in_a_review(serve, command, folder, checkpoint, until):
    gt = folder / "gt.txt"
    text = gt.read_text(encoding="utf-8").replace("0.png\t1\n", "0.png\t뉴스\n")
    gt.write_text(text, encoding="utf-8")
    assert command("audit", f"dataset={folder}", f"checkpoint={checkpoint}").status == 0
    server = serve("input=audit")
    with server.client() as client:
        items = until(lambda: (i := everything(client)) and all(x["is_read"] for x in i) and i)
        first = next(item for item in items if item["rank"] == 1)
        assert (first["name"], first["label"], first["text"]) == ("0.png", "뉴스", "1")
        assert first["reason"] == "read otherwise"


def test_files_behind_links_out_of_the_folder_are_not_taken(serve, folder, picture, until):
    (folder / "gt.txt").unlink()
    outside = folder.parent / "outside.png"
    picture("A").save(outside)
    try:
        (folder / "link.png").symlink_to(outside)
    except OSError:
        pytest.skip("this system makes no links")
    server = serve(f"input={folder}")
    with server.client() as client:
        until(lambda: len(everything(client)) == 10)
        assert "link.png" not in {item["name"] for item in everything(client)}


@pytest.mark.parametrize(
    "argument, message",
    [
        ("input=nowhere", "input=nowhere: expected a folder with images"),
        ("port=70000", "port=70000: expected 0 to 65535"),
        ("validation=1", "validation=1: expected 0 to below 1"),
        ("queue=0", "queue=0: expected a positive number"),
    ],
)
def test_a_wrong_setting_is_one_line(command, checkpoint, argument, message):
    ended = command("review", f"checkpoint={checkpoint}", argument)
    assert ended.status == 1
    assert message in ended.err


def test_without_fastapi_the_message_has_the_command(process, tmp_path):
    hidden = "import sys; sys.modules.update(dict.fromkeys(['fastapi'])); "
    ended = process("-c", hidden + "from hanline.commands.review import main; main()", "input=x")
    assert ended.status == 1
    assert 'pip install "hanline[review]"' in ended.err
    assert "Traceback" not in ended.err


def test_large_pictures_are_shown(server):
    image = png(Image.new("RGB", (3000, 100), "white"))
    with server.client() as client:
        client.post("/api/upload", files={"files": ("a.png", image)})
        (item,) = everything(client)
        shown = client.get(f"/api/items/{item['id']}/image")
        assert Image.open(io.BytesIO(shown.content)).size == (3000, 100)
        assert shown.headers["X-Content-Type-Options"] == "nosniff"
        assert client.get("/api/items/99/image").status_code == 404
