#!/usr/bin/env python3
"""Writes a small corpus for each fuzz target, out of tests/conformance and a few texts."""

import hashlib
import io
import json
import pathlib
import tarfile

HERE = pathlib.Path(__file__).resolve().parent
CONFORMANCE = HERE.parent / "xtask/docker-layer-cache/tests/conformance"


def seed(target, content):
    content = content.encode() if isinstance(content, str) else content
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(content).hexdigest()).write_bytes(content)


def lines(name):
    return [json.loads(line) for line in (CONFORMANCE / name).read_text().splitlines()]


for row in lines("dockerfiles.jsonl") + lines("dockerfiles-engine.jsonl"):
    seed("dockerfile", row["dockerfile"])
for row in lines("references.jsonl"):
    seed("reference", row["in"])
for row in lines("dockerignore.jsonl"):
    seed("ignore_file", "\0".join([row["dockerignore"], *row["files"][:8]]))
odd = json.loads((CONFORMANCE / "dockerignore-odd.json").read_text())
for row in odd["rows"]:
    text = row["dockerignore"] if isinstance(row, dict) else str(row)
    seed("ignore_file", "\0".join([text, *odd["files"][:8]]))

for text in ["linux/amd64", "linux/arm64/v8", "arm", "windows(10.0.17763)/amd64", "LINUX/x86_64", "armhf"]:
    seed("platform", text)
for text in [
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a:pull,push"',
    'Basic realm="r, or so", Bearer realm="https://a/t",service="s"',
    "Negotiate YIIabc==, Basic realm=r",
    'Bearer realm="a\\"b\\\\c"',
]:
    seed("challenge", text)
for config in [
    {"auths": {"https://index.docker.io/v1/": {"auth": "dXNlcjpwYXNzd29yZC1vZi10d2VudHktZml2ZQ=="}}},
    {"auths": {"ghcr.io": {"identitytoken": "a-token-of-more-than-twenty-letters"}}, "credsStore": "x"},
    {"credHelpers": {"ghcr.io": "x"}, "auths": {"localhost:5000": {"username": "u", "password": "p"}}},
    {"auths": {"a": {"auth": "PHRva2VuPjphLXRva2VuLW9mLW1vcmUtdGhhbi10d2VudHk=", "registrytoken": ""}}},
]:
    seed("docker_config", json.dumps(config))
seed("progress", """#1 [internal] load build definition from Dockerfile
#1 DONE 0.0s
#5 [stage-1  2/10] COPY --from=deps /x /y
#5 CACHED
#6 [deps 2/2] RUN echo CACHED
#6 0.100 CACHED
#6 DONE 0.2s
#7 [linux/arm64 stage-1  3/10] RUN no
#7 ERROR: process "/bin/sh -c no" did not complete successfully: exit code: 127
ERROR: failed to solve
""")
seed("progress", """Step 1/4 : ARG V=1
Step 2/4 : FROM busybox AS deps
 ---> 4ddaed64d78d
Step 3/4 : RUN echo hi > /x
 ---> Running in aa6bc4f9cc88
Step 9/9 : FROM x
Removing intermediate container aa6bc4f9cc88
 ---> f5e94f0d320b
Step 4/4 : COPY a b
 ---> Using cache
 ---> 9ad9f169a7d0
""")
seed("images_toml", """[store]
path = "target/x"
max-size = "8 GiB"
[image.app]
dockerfile = "docker/Dockerfile"
context = "."
target = "runtime"
platforms = ["linux/amd64"]
tags = ["a:b"]
build-args = { V = "3.3" }
build-contexts = { docs = "./docs" }
secrets = ["id=npm,env=T"]
ssh = ["default"]
inputs = ["**/*.lock"]
strategy = "stage-images"
""")

cache = CONFORMANCE / "buildkit_cache"
config = json.loads((cache / "export_config.json").read_text())
seed("cache_config", json.dumps(config, separators=(",", ":")))
blob = "sha256:" + "0" * 64
seed("cache_config", json.dumps({
    "layers": [{"blob": blob, "parent": -1}, {"blob": "sha256:" + "1" * 64, "parent": 0}],
    "records": [
        {"digest": "sha256:a", "layers": [{"layer": 1, "createdAt": "2026-01-01T00:00:00.5Z"}]},
        {"digest": "sha256:b", "inputs": [[{"link": 0, "selector": "/x"}], [{"link": 0}]],
         "chains": [{"layers": [1, 0], "createdAt": "2026-01-01T00:00:00Z"}]},
    ]}))
seed("inline_cache", json.dumps([
    {"digest": "sha256:a", "layers": [{"layer": 1, "createdAt": "2026-01-01T00:00:00.5Z"}]},
    {"digest": "sha256:b", "inputs": [[{"link": 0, "selector": "/x"}], [{"link": 0}]],
     "chains": [{"layers": [1, 0]}]}]))
images = json.loads((cache / "stage_images.json").read_text())
for image in images if isinstance(images, list) else images.values():
    seed("inline_cache", json.dumps(image))

descriptor = {
    "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": blob, "size": 5,
    "annotations": {
        "org.opencontainers.image.ref.name": "app/linux-amd64/build-cache/0000",
        **{"dev.docker-layer-cache." + name: value for name, value in {
            "kind": "build-cache", "image": "app", "platform": "linux/amd64", "engine-class": "x",
            "key.base": "a", "key.full": "b", "stage": "s", "created": "2026-11-24T22:49:51Z",
            "steps": "[]", "format": "1"}.items()}}}
seed("image_layout", json.dumps({"schemaVersion": 2, "manifests": [descriptor]}))


def archive(items):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in items:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    # Without the padding to 10 KiB that follows the end.
    return out.getvalue()[: -(len(out.getvalue()) % 10240) or None]


layer = archive([("file", b"content")])
diff_id = hashlib.sha256(layer).hexdigest()
image = json.dumps({"architecture": "amd64", "os": "linux",
                    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + diff_id]}}).encode()
image_id = hashlib.sha256(image).hexdigest()
for layer_path, config_path in [("a/layer.tar", image_id + ".json"),
                                ("blobs/sha256/" + diff_id, "blobs/sha256/" + image_id)]:
    manifest = json.dumps([{"Config": config_path, "RepoTags": ["a:b"], "Layers": [layer_path]}])
    seed("docker_archive", archive([(layer_path, layer), (config_path, image),
                                    ("manifest.json", manifest.encode())]))
