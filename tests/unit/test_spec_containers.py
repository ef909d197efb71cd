"""Containers in Compose's words: every form that it has, what is refused and why, references to services."""

import pytest
from pydantic import ValidationError

from orchestrator.errors import ConfigurationError
from orchestrator.run.addresses import At, resolved
from orchestrator.run.containers import container_of, prepare_argv, service_spec
from orchestrator.spec.load import load
from orchestrator.spec.service import Service
from orchestrator.spec.target import Target

SERVICE = {"image": "pg", "port": 5432}
LOADS = "loads: {l: {clients: 1, requests: 10}}\n"


def target(**keys):
    return Target.model_validate({"image": "i", "port": 80, **keys})


def loaded(folder, text, environment=None):
    path = folder / "c.yaml"
    path.write_text(f"campaign: c\n{text}\n{LOADS}")
    return load(path, environment={} if environment is None else environment).campaign


def refused(folder, text):
    with pytest.raises(ConfigurationError) as caught:
        loaded(folder, text)
    return {(problem.where.partition(": ")[2], problem.what, problem.hint) for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"environment": ["A=b=c", "N="]}, {"environment": {"A": "b=c", "N": ""}}),
        ({"environment": {"N": 5, "F": 1.5}}, {"environment": {"N": "5", "F": "1.5"}}),
        ({"env": {"A": "b"}}, {"environment": {"A": "b"}}),
        ({"command": "a 'b c'"}, {"command": ["a", "b c"]}),
        ({"entrypoint": "a -b"}, {"entrypoint": ["a", "-b"]}),
        ({"extra_hosts": ["a:10.0.0.1", "b=10.0.0.2", "six:fd00::1"]},
         {"extra_hosts": {"a": "10.0.0.1", "b": "10.0.0.2", "six": "fd00::1"}}),
        ({"tmpfs": "/t"}, {"tmpfs": ["/t"]}),
        ({"sysctls": ["kernel.shmmni=5"]}, {"sysctls": {"kernel.shmmni": 5}}),
        ({"cap_add": ["CAP_SYS_NICE", "kill"]}, {"cap_add": ["SYS_NICE", "KILL"]}),
        ({"user": 1000}, {"user": "1000"}),
        ({"ports": [80]}, {"ports": ["80:80/tcp"]}),
        ({"ulimits": {"nofile": 5}}, {"ulimits": {"nofile": "5"}}),
    ],
)  # fmt: skip
def test_both_forms_of_compose_mean_the_same(one, other):
    """Values alone: which keys were set differs."""
    assert target(**one).model_dump() == target(**other).model_dump()


def test_load_goes_to_the_port_of_the_host():
    """The first of 'ports' is the server's own port unless 'port' says which is."""
    bridge = {"image": "i", "network": "bridge", "ports": ["18000:8000", "19000:9000"]}
    first, second = Target.model_validate(bridge), Target.model_validate(bridge | {"port": 9000})

    assert (first.listens, first.reached) == (8000, 18000)
    assert (second.listens, second.reached) == (9000, 19000)
    assert (target().listens, target().reached) == (80, 80)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"ports": ["1:2"]}, "'1:2' needs a network of the container's own: set network: bridge"),
        ({"network": "bridge", "ports": ["18000:8000"], "port": 18000}, "write port: 8000, the container's"),
        ({"network": "bridge", "ports": ["18000:8000", "18000:9"]}, "port 18000 of the host is published twice"),
        ({"ports": ["127.0.0.1:1:2"]}, "is not a port"),
        ({"ports": ["1-5:1-5"]}, "is not a port"),
        ({"ports": ["53/udp"]}, "is not a port"),
        ({"volumes": ["/data"]}, "has no name: write NAME:/PATH"),
        ({"volumes": ["./a:/b"]}, "write ./a:/b:ro"),
        ({"volumes": ["a/b:/c:ro"]}, "begin a path with './' or '/'"),
        ({"volumes": ["/var/run/docker.sock:/s:ro"]}, "control of its host"),
        ({"volumes": ["/run/:/s:ro"]}, "control of its host"),
        ({"volumes": ["/:/s:ro"]}, "control of its host"),
        ({"volumes": ["v:relative"]}, "is not a volume"),
        ({"environment": ["A=1", "A=2"]}, "'A' is there twice"),
        ({"environment": ["SECRET"]}, "one entry of the list has no value"),
        ({"sysctls": {"net.core.somaxconn": 1}}, "would change the host: set network: bridge"),
        ({"cap_add": ["SYS_ADMIN"]}, "cannot be used here"),
        ({"cap_add": ["KILL"], "cap_drop": ["KILL"]}, "have a capability in common"),
        ({"healthcheck": {"test": ["curl"]}}, "begin it with CMD or CMD-SHELL"),
        ({"healthcheck": {"test": ["CMD-SHELL", "a", "b"]}}, "does not fit CMD-SHELL"),
        ({"tmpfs": ["t"]}, "is not a folder"),
        ({"tmpfs": ["/t:size=lots"]}, "is not an option of tmpfs: write e.g. size=256m"),
        ({"image": "Nginx:1"}, "is not the name of an image: write it in lower case"),
        ({"image": "app:1\n"}, "is not the name of an image"),
        ({"image": "a" * 256}, "is not the name of an image"),
        ({"working_dir": "srv"}, "is not an absolute path: begin it with '/'"),
        ({"environment": {"A=B": "c"}}, "is not the name of a variable"),
        ({"environment": {"": "c"}}, "is not the name of a variable"),
        ({"volumes": [f"{'v' * 130}:/d"]}, "a name of 130 characters is too long"),
        ({"volumes": ["v:/"]}, "would replace the container's whole file system"),
        ({"ulimits": {"files": 5}}, "is not a limit of processes: the limits are as, core"),
        ({"ulimits": {"nofile": {"soft": 5, "hard": 4}}}, "soft (5) is above hard (4)"),
        ({"extra_hosts": ["a b:10.0.0.1"]}, "is not a host name"),
        ({"extra_hosts": ["a:there"]}, "'there' is not an IP address"),
        ({"limits": {"memory": "5MiB"}}, "write at least 6MiB"),
        ({"limits": {"cpus": 0.001}}, "greater than or equal to 0.01"),
        ({"limits": {"cpuset": "3-1"}}, "'3-1' ends before it begins: write 1-3"),
        ({"limits": {"cpuset": "0,9000"}}, "write cores from 0 to 8191"),
        ({"url": "http://h/"}, "image, url are set together"),
    ],
)
def test_what_a_container_cannot_have_is_refused_with_the_reason(keys, words):
    with pytest.raises(ValidationError) as caught:
        target(**keys)

    assert words in str(caught.value)


@pytest.mark.parametrize(
    "image",
    [
        "nginx",
        "nginx:1.27-alpine",
        "registry.example.com:5000/team/app_x/y--z:v1.2_3",
        "localhost/app@sha256:" + "a" * 64,
        "sha256:" + "0" * 64,
        "0" * 64,
        "[fd00::1]:5000/app",
    ],
)
def test_names_of_images_that_engines_know(image):
    """With a registry, a tag, a digest; and the ID of an image."""
    assert Target.model_validate({"image": image, "port": 80}).image == image


def test_hosts_of_services_are_known_later():
    """And the engine's own word for its host."""
    hosts = ["db.test:${db.address}", "host:host-gateway", "six:[fd00::1]", "four=10.0.0.1"]

    assert len(target(extra_hosts=hosts).extra_hosts) == 4


def test_a_url_has_nothing_of_a_container():
    with pytest.raises(ValueError, match="'needs' belongs to containers"):
        Target.model_validate({"url": "http://h/", "needs": ["db"]})


@pytest.mark.parametrize(
    ("written", "argv", "off"),
    [
        ("a | b", ["/bin/sh", "-c", "a | b"], False),
        (["CMD-SHELL", "a | b"], ["/bin/sh", "-c", "a | b"], False),
        (["CMD", "a", "b"], ["a", "b"], False),
        (["NONE"], None, True),
        (None, None, False),
    ],
)
def test_the_forms_of_a_health_check(written, argv, off):
    """None: that of the image."""
    check = target(healthcheck={"test": written}).healthcheck

    assert (check.argv, check.is_off) == (argv, off)


def test_a_host_receives_all_of_a_container(tmp_path):
    """In its own units; paths are the campaign's; ports by the container's."""
    service = Service.model_validate(
        SERVICE
        | {
            "network": "bridge",
            "ports": ["15432:5432"],
            "volumes": ["data:/d", "v:/v:ro", "./c:/c:ro"],
            "tmpfs": ["/t:size=5m,mode=700", "/u"],
            "ulimits": {"nofile": 5, "core": {"soft": 0, "hard": -1}},
            "limits": {"cpus": 0.5, "memory": "8MiB", "pids": 7},
            "healthcheck": {
                "test": ["CMD", "x"],
                "interval": "2s",
                "timeout": "3s",
                "retries": 4,
                "start_period": "5s",
            },
            "ready": {"timeout": "6s"},
        }
    )
    spec = service_spec("db", service, "id", tmp_path, "0001-t")

    assert (spec.name, spec.image, spec.port, spec.trial, spec.ready_timeout_s) == ("db", "id", 15432, "0001-t", 6.0)
    assert spec.ports == {5432: 15432}
    assert [(m.source, m.path, m.bind, m.read_only) for m in spec.mounts] == [
        ("data", "/d", False, False),
        ("v", "/v", False, True),
        (str(tmp_path / "c"), "/c", True, True),
    ]
    assert spec.tmpfs == {"/t": "size=5m,mode=700", "/u": ""}
    assert spec.ulimits == {"nofile": [5, 5], "core": [0, -1]}
    assert (spec.cpus, spec.memory_bytes, spec.pids) == (0.5, 8 << 20, 7)
    health = spec.health
    assert (health.argv, health.interval_s, health.timeout_s, health.retries) == (["x"], 2.0, 3.0, 4)
    assert health.start_period_s == 5.0
    assert container_of(target(healthcheck={"disable": True}), tmp_path).health is None
    assert container_of(target(network="bridge"), tmp_path).ports == {80: 80}
    assert (prepare_argv("a b"), prepare_argv(["a", "b"])) == (["/bin/sh", "-c", "a b"], ["a", "b"])


def test_compose_keys_that_mean_something_else_say_what_to_write(tmp_path):
    found = refused(tmp_path, "targets: {t: {image: i, port: 1, mem_limit: 5m, restart: always, depends_on: [a]}}")

    assert ("targets.t.mem_limit", "'mem_limit' is not a key of containers here", "write limits.memory") in found
    assert any(where == "targets.t.restart" and hint.startswith("remove it") for where, _, hint in found)
    assert any(where == "targets.t.depends_on" and hint == "write needs" for where, _, hint in found)


def test_compose_says_in_two_forms_what_a_service_waits_for(tmp_path):
    """A mapping with conditions, of which those that Volley keeps are understood; its names are checked as well."""
    plain = "services:\n  db: {image: i}\n  api: {image: i, depends_on: {%s}}\ntargets: {t: {image: i, port: 80, needs: [api]}}"
    campaign = loaded(tmp_path, plain % "db: {condition: service_healthy}")

    assert campaign.services["api"].depends_on == ["db"]
    assert ("services.api.depends_on", "there is no service 'bd'", "the services are: db, api") in refused(
        tmp_path, plain % "bd: {condition: service_started}"
    )
    ((where, what, hint),) = refused(tmp_path, plain % "db: {condition: service_completed_successfully}")
    assert where == "services.api.depends_on"
    assert "cannot be waited for until 'service_completed_successfully'" in what
    assert "service_healthy" in hint


def test_an_escaped_reference_to_a_service_is_text(tmp_path):
    """`$${` stands for `${` there as everywhere, also for a service that the container does not need."""
    campaign = loaded(
        tmp_path,
        "services: {db: {image: i, port: 1}, x: {image: i, port: 2}}\n"
        "targets: {t: {image: i, port: 80, needs: [db],"
        " environment: {A: '$${db.address} ${db.address}', B: '$${x.port} $${HOME} $${no.address}'}}}",
    )
    found = resolved(campaign.targets["t"], {"db": At("10.1.1.1", 1, "10.1.1.1")})

    assert found.environment == {"A": "${db.address} 10.1.1.1", "B": "${x.port} ${HOME} ${no.address}"}


def test_commands_of_a_shell_have_variables_instead_of_references(tmp_path):
    """No shell can read a name with a dot."""
    text = "services: {db-1: {image: i, port: 1}}\ntargets: {t: {image: i, port: 80, needs: [db-1]}}\nbefore:"

    assert refused(tmp_path, text + " [{run: 'ping ${db-1.address}'}]") == {
        ("before.0.run", "a shell cannot read ${db-1.address}", "write $VOLLEY_DB_1_ADDRESS")
    }
    assert loaded(tmp_path, text + " [{run: 'ping ${VOLLEY_DB_1_ADDRESS} ${x.y}'}]").before[0].run


def test_addresses_of_services_stay_until_they_are_known(tmp_path):
    """Also beside variables, and in scripts, which belong to a shell."""
    campaign = loaded(
        tmp_path,
        "services:\n"
        "  db: {image: pg, port: 5432, prepare: ['psql -p ${db.port} ${PGDATABASE}', [load, '${SIZE}']],\n"
        "       healthcheck: {test: 'check ${HOME}'}}\n"
        "targets: {t: {image: i, port: 80, needs: [db], environment: ['DB=${USER}@${db.address}:${db.port}']}}",
        {"SIZE": "9", "USER": "me", "db.port": "not this"},
    )
    db = campaign.services["db"]

    assert campaign.targets["t"].environment == {"DB": "me@${db.address}:${db.port}"}
    assert db.prepare == ["psql -p ${db.port} ${PGDATABASE}", ["load", "9"]]
    assert db.healthcheck.test == "check ${HOME}"


@pytest.mark.parametrize(
    ("services", "container", "where", "what", "hint"),
    [
        ("{}", "needs: [db]", "targets.t.needs", "there is no service 'db'", "add it to 'services'"),
        ("{db: {image: i}}", "needs: [bd]", "targets.t.needs", "there is no service 'bd'", "the services are: db"),
        ("{db: {image: i}}", "command: ['${bd.address}'], needs: [db]", "targets.t.command.0", "there is no service 'bd'",
         "did you mean ${db.address}?"),
        ("{db: {image: i}}", "command: ['${db.address}']", "targets.t.command.0", "service db may not be up here",
         "add db to 'needs'"),
        ("{db: {image: i}}", "command: ['${db.port}'], needs: [db]", "services.db",
         "${db.port} is used, and service db has no port", "add 'port'"),
        ("{db: {image: i}}", "command: ['${db.host}'], needs: [db]", "targets.t.command.0", "service db has no 'host'",
         "write ${db.address} or ${db.port}"),
        ("{db: {image: i}}", "path: '/${db.address}', needs: [db]", "targets.t.path",
         "the address of service db is not known here", "use it in environment, command or extra_hosts"),
        ("{a: {image: i, depends_on: [b]}, b: {image: i, depends_on: [a]}}", "needs: [a]", "services.a.depends_on",
         "services wait for each other: a → b → a", "remove one of these dependencies"),
        ("{a: {image: i, prepare: ['echo ${c.port}']}}", "needs: [a]", "services.a.prepare.0", "there is no service 'c'",
         "add it to 'services'"),
        ("{a: {image: i, build: .}}", "needs: [a]", "services.a", "build, image are set together",
         "set exactly one of build and image"),
        ("{a: {image: i, place: here}}", "needs: [a]", "services.a.place", "'here' is not one of the choices here",
         "write server"),
    ],
)  # fmt: skip
def test_wrong_references_to_services_are_refused(tmp_path, services, container, where, what, hint):
    found = refused(tmp_path, f"services: {services}\ntargets: {{t: {{image: i, port: 80, {container}}}}}")

    assert (where, what, hint) in found


@pytest.mark.parametrize(
    ("target_keys", "db", "refused_for"),
    [
        ("port: 80", "port: 80", "target t"),
        ("port: 80", "ports: [80]", "target t"),
        ("port: 80, network: bridge, ports: ['90:80', '91:81']", "port: 91", "target t"),
        ("port: 80", "port: 81, depends_on: [cache]", "service db"),
        ("port: 80", "port: 80, network: bridge, ports: ['82:80']", None),
        ("port: 80", "port: 80, place: {disk: nvme}", None),
        ("port: 80, network: bridge, ports: ['90:80']", "port: 80", None),
    ],
)
def test_two_containers_of_a_host_cannot_have_one_port(tmp_path, target_keys, db, refused_for):
    """One of them would end, or the load would go to the other; only what a target needs runs at the same time."""
    text = (
        f"services:\n  db: {{image: i, {db}}}\n  cache: {{image: i, port: 81}}\n  other: {{image: i, port: 80}}\n"
        f"targets: {{t: {{image: i, needs: [db], {target_keys}}}, u: {{image: i, port: 80}}}}"
    )
    if refused_for is None:
        assert loaded(tmp_path, text).services
    else:
        ((_, what, _),) = refused(tmp_path, text)
        assert f"is also that of {refused_for}, on the same host" in what


def test_a_service_may_be_waited_for_by_another(tmp_path):
    """What a needed service depends on is up as well; a service's own commands know where it is."""
    campaign = loaded(
        tmp_path,
        "services:\n"
        "  cache: {image: r, ports: [6379], prepare: ['ping ${cache.port}'], lifetime: run}\n"
        "  db: {image: pg, port: 5432, depends_on: [cache], place: {disk: nvme}, lifetime: run}\n"
        "targets: {t: {image: i, port: 80, needs: [db], environment: {C: '${cache.address}:${cache.port}'}}}",
    )

    assert (campaign.services["cache"].reached, campaign.services["db"].place) == (6379, {"disk": "nvme"})
