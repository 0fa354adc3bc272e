"""The three servers behind TLS and names, with certificates made here.

Kafka is the real one; Redis and ClickHouse are Debian's, since the wheel's Valkey is built without
TLS and chDB has no users.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from msgspec import Struct

from infra.local.java import find_java
from infra.local.kafka_server import JVM, LOGGING
from infra.local.ports import answers, free_port
from infra.local.supervisor import ProcessSpec, Supervisor

USER = "river"
PASSWORD = "p@ss/word:" + secrets.token_hex(6)  # what a URL must not take for its own

KAFKA = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=SASL_SSL://127.0.0.1:{sasl},SSL://127.0.0.1:{mutual},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=SASL_SSL://127.0.0.1:{sasl},SSL://127.0.0.1:{mutual}
controller.listener.names=CONTROLLER
listener.security.protocol.map=SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=SASL_SSL
sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required \
username="{user}" password="{password}";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
listener.name.ssl.ssl.client.auth=required
log.dirs={folder}/logs
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
offsets.topic.num.partitions=4
"""

# No more than our processes ask for.
REDIS_RIGHTS = (
    "~topk:* ~popular:* ~profile:* ~recent:* ~epoch:* ~counts:* &alerts:* -@all +get +set +del "
    "+incr +hincrby +hmget +expire +lrange +lrem +lpush +ltrim +getrange +publish +ping "
    "+evalsha +script|load +client|setname"
)

CLICKHOUSE = """\
<yandex>
  <logger><level>warning</level><console>1</console></logger>
  <listen_host>127.0.0.1</listen_host>
  <tcp_port_secure>{port}</tcp_port_secure>
  <openSSL><server>
    <certificateFile>{folder}/chain.pem</certificateFile>
    <privateKeyFile>{folder}/key.pem</privateKeyFile>
    <verificationMode>none</verificationMode>
    <disableProtocols>sslv2,sslv3</disableProtocols>
  </server></openSSL>
  <path>{folder}/clickhouse/</path>
  <tmp_path>{folder}/clickhouse/tmp/</tmp_path>
  <user_files_path>{folder}/clickhouse/files/</user_files_path>
  <users_config>{folder}/users.xml</users_config>
  <default_profile>default</default_profile>
  <default_database>default</default_database>
  <mark_cache_size>5368709120</mark_cache_size>
  <timezone>UTC</timezone>
</yandex>
"""
CLICKHOUSE_USERS = """\
<yandex>
  <profiles><default/></profiles>
  <quotas><default/></quotas>
  <users><{user}>
    <password_sha256_hex>{digest}</password_sha256_hex>
    <networks><ip>127.0.0.1</ip></networks>
    <profile>default</profile><quota>default</quota>
  </{user}></users>
</yandex>
"""


class Certificates(Struct, frozen=True):
    """PEM files. `stranger`: an authority that signed nothing here."""

    folder: Path
    ca: Path
    client: Path
    client_key: Path
    stranger: Path


def _binary(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        reason = f"no {name}: apt-get install {name}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    return str(found)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    authority, stranger = trustme.CA(), trustme.CA()
    server, client = authority.issue_cert("127.0.0.1", "localhost"), authority.issue_cert("river@x")
    made = Certificates(
        folder, folder / "ca.pem", folder / "client.pem", folder / "client-key.pem",
        folder / "stranger.pem",
    )  # fmt: skip
    authority.cert_pem.write_to_path(str(made.ca))
    stranger.cert_pem.write_to_path(str(made.stranger))
    key = serialization.load_pem_private_key(server.private_key_pem.bytes(), None)
    pkcs8 = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    chain = b"".join(part.bytes() for part in server.cert_chain_pems)
    (folder / "key.pem").write_bytes(pkcs8)
    (folder / "chain.pem").write_bytes(chain)
    (folder / "server.pem").write_bytes(pkcs8 + chain)
    made.client.write_bytes(b"".join(part.bytes() for part in client.cert_chain_pems))
    made.client_key.write_bytes(client.private_key_pem.bytes())
    return made


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path_factory.mktemp("logs"))
    yield supervisor
    supervisor.stop()


@pytest.fixture(scope="session")
def secure_kafka(
    kafka_home: Path, certificates: Certificates, processes: Supervisor
) -> dict[str, str]:
    """URLs: `scram`, and `mutual` for a listener that asks for our certificate."""
    import base64
    import subprocess
    import uuid

    folder, java = certificates.folder, find_java()
    assert java is not None
    ports = {name: free_port() for name in ("sasl", "mutual", "controller")}
    (folder / "log4j2.properties").write_text(LOGGING)
    text = KAFKA.format(folder=folder, user=USER, password=PASSWORD, **ports)
    (folder / "server.properties").write_text(text)
    run = (
        str(java), *JVM, f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}",
        "-cp", f"{kafka_home.absolute()}/libs/*",
    )  # fmt: skip
    cluster = base64.urlsafe_b64encode(uuid.UUID(int=7).bytes).decode().rstrip("=")
    scram = [
        argument
        for mechanism in ("SCRAM-SHA-512", "SCRAM-SHA-256")
        for argument in ("--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]")
    ]
    settings = str(folder / "server.properties")
    subprocess.run(
        [*run, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", settings, *scram],
        check=True, timeout=60, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    processes.start(
        ProcessSpec(name="kafka", command=(*run, "kafka.Kafka", settings), stop_seconds=15.0),
        lambda: answers(ports["sasl"]) and answers(ports["mutual"]),
        60.0,
    )
    name = f"{USER}:{quote(PASSWORD, safe='')}"
    mine = f"certificate={certificates.client}&key={certificates.client_key}"
    return {
        "scram": f"kafkas://{name}@127.0.0.1:{ports['sasl']}?ca={certificates.ca}",
        "mutual": f"kafkas://127.0.0.1:{ports['mutual']}?ca={certificates.ca}&{mine}",
    }


@pytest.fixture(scope="session")
def secure_redis(certificates: Certificates, processes: Supervisor) -> str:
    """A Redis that speaks TLS only and knows one user, who may do what we ask for."""
    port, folder = free_port(), certificates.folder
    rules = folder / "users.acl"
    rules.write_text(f"user default off\nuser {USER} on >{PASSWORD} {REDIS_RIGHTS}\n")
    command = (
        _binary("redis-server"), "--bind", "127.0.0.1", "--port", "0", "--tls-port", str(port),
        "--tls-cert-file", str(folder / "chain.pem"), "--tls-key-file", str(folder / "key.pem"),
        "--tls-ca-cert-file", str(certificates.ca), "--tls-auth-clients", "no",
        "--aclfile", str(rules), "--save", "", "--dir", str(folder),
    )  # fmt: skip
    processes.start(ProcessSpec(name="redis", command=command), lambda: answers(port), 10.0)
    name = f"{USER}:{quote(PASSWORD, safe='')}"
    return f"rediss://{name}@127.0.0.1:{port}/0?ca={certificates.ca}"


@pytest.fixture(scope="session")
def secure_clickhouse(certificates: Certificates, processes: Supervisor) -> str:
    """A ClickHouse that speaks TLS only and knows one user. Old: it lacks our tables' types."""
    port, folder = free_port(), certificates.folder
    (folder / "config.xml").write_text(CLICKHOUSE.format(port=port, folder=folder))
    digest = sha256(PASSWORD.encode()).hexdigest()
    (folder / "users.xml").write_text(CLICKHOUSE_USERS.format(user=USER, digest=digest))
    command = (_binary("clickhouse-server"), f"--config-file={folder / 'config.xml'}")
    processes.start(ProcessSpec(name="clickhouse", command=command), lambda: answers(port), 30.0)
    name = f"{USER}:{quote(PASSWORD, safe='')}"
    return f"clickhouses://{name}@127.0.0.1:{port}/default?ca={certificates.ca}"


@pytest.fixture(scope="session")
def password() -> str:
    return PASSWORD
