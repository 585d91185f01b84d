//! What Envoy is told is for Envoy alone: it carries the keys of the sessions.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use waggle_tests::authority::{Authority, Signed};
use waggle_tests::client::Jar;
use waggle_tests::program::built;
use waggle_tests::sandbox::run;

use crate::modes::routed;
use crate::world::{World, on_stack, wait};

/// curl's words for "no such host" and for "no connection".
const REFUSED: [i32; 3] = [6, 7, 28];

/// Asks the controller's xDS port from the network of a service's task, with that network's names.
fn ask_xds(world: &World, from: &str, url: &str, options: &[&str]) -> Result<Output> {
    let resolve = "echo nameserver 127.0.0.11 >/run/resolver
        mount --bind /run/resolver /etc/resolv.conf
        exec curl --silent --show-error --max-time 3 \"$@\"";
    let mut command = world.swarm.inside(&world.container(from)?, "unshare")?;
    command.args(["--mount", "sh", "-ec", resolve, "curl", url]).args(options);
    command.output().with_context(|| format!("{command:?}"))
}

#[test]
fn an_applications_task_cannot_connect_to_the_xds_port() -> Result<()> {
    on_stack(|world| {
        let controller = &world.swarm.tasks("waggle_controller")?[0];
        let networks = controller.addresses.keys().map(String::as_str);
        ensure!(networks.eq(["waggle_xds"]), "the controller is on {:?}", controller.addresses);
        let by_address = format!("http://{}:18000", controller.addresses["waggle_xds"]);
        let names = ["waggle-controller", "controller", "waggle_controller", "tasks.controller"];
        let by_name = names.map(|name| format!("http://{name}:18000"));
        for url in by_name.iter().chain([&by_address]) {
            let answer = ask_xds(world, "waggle_demo", url, &[])?;
            let refused = answer.status.code().is_some_and(|code| REFUSED.contains(&code));
            ensure!(refused, "{url} from an application: {answer:?}");
        }
        // The same question is answered where it may be asked.
        for url in [&by_name[0], &by_address] {
            let answer = ask_xds(world, "waggle_envoy", url, &["--http2-prior-knowledge"])?;
            ensure!(answer.status.success(), "{url} from Envoy: {answer:?}");
        }
        Ok(())
    })
}

/// Writes a file of the test's own, and returns its path.
fn file(name: &str, text: &str) -> Result<String> {
    let path = Path::new("/run").join(name);
    fs::write(&path, text)?;
    Ok(path.display().to_string())
}

/// Gives the stack mutual TLS and a session key, as a user does who reads the help of `waggle`.
fn secure(world: &World, authority: &Authority) -> Result<[Signed; 2]> {
    let pair = [authority.sign("waggle-controller")?, authority.sign("envoy")?];
    let [controller, envoy] = &pair;
    for (secret, text) in [
        ("xds-ca", authority.pem()),
        ("controller-cert", &controller.certificate),
        ("controller-key", &controller.key),
        ("envoy-cert", &envoy.certificate),
        ("envoy-key", &envoy.key),
        ("session-keys", SESSION_KEY[0]),
    ] {
        world.docker(&format!("secret create {secret} {}", file(secret, text)?))?;
    }
    let tls = ["--xds-ca", "/run/secrets/xds-ca", "--xds-cert", "/run/secrets/envoy-cert"];
    let key = ["--xds-key", "/run/secrets/envoy-key"];
    let bootstrap = run(Command::new(built("waggle")?).arg("bootstrap").args(tls).args(key))?;
    world.docker(&format!("config create with-tls {}", file("with-tls.yaml", &bootstrap)?))?;
    world.docker(
        "service update --detach --secret-add xds-ca --secret-add controller-cert \
         --secret-add controller-key --secret-add session-keys \
         --env-add WAGGLE_XDS_CLIENT_CA=/run/secrets/xds-ca \
         --env-add WAGGLE_XDS_TLS_CERT=/run/secrets/controller-cert \
         --env-add WAGGLE_XDS_TLS_KEY=/run/secrets/controller-key \
         --env-add WAGGLE_SESSION_KEYS=/run/secrets/session-keys \
         --env-add WAGGLE_LOG=trace waggle_controller",
    )?;
    world.docker(
        "service update --detach --secret-add xds-ca --secret-add envoy-cert \
         --secret-add envoy-key --config-rm waggle_bootstrap \
         --config-add source=with-tls,target=/etc/envoy/waggle.yaml waggle_envoy",
    )?;
    Ok(pair)
}

/// A session key as its file has it, and the ways in which its first bytes could be printed.
const SESSION_KEY: [&str; 4] = [
    "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY=",
    "ABCDEFGHIJKLMNOPQRST",
    "4142434445464748494a4b4c",
    "65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76",
];

#[test]
fn with_mutual_tls_only_a_certificate_opens_the_xds_port_and_no_key_shows() -> Result<()> {
    let authority = Authority::new()?;
    on_stack(|world| {
        let before = world.container("waggle_envoy")?;
        let pair = secure(world, &authority)?;
        wait("another Envoy is served", || {
            ensure!(world.container("waggle_envoy")? != before, "the old one runs");
            Ok(world.status()?["envoys"][0].is_object().then_some(()))
        })?;
        let sticky = "--label com.docker.lb.sticky_session_cookie=session";
        world.create("sticky", 2, &format!("{} {sticky}", routed("sticky.local")))?;
        world.wait_answer("sticky.local", 200)?;
        let mut jar = Jar::default();
        world.get_as(&mut jar, "sticky.local", "/ping")?;
        ensure!(jar.get("session_lb").is_some(), "the filter has no key: {jar:?}");

        let xds = "https://waggle-controller:18000";
        let trusting = ["--http2", "--cacert", "/run/xds-ca"];
        let certificate = ["--cert", "/run/envoy-cert", "--key", "/run/envoy-key"];
        let with = ask_xds(world, "waggle_envoy", xds, &[&trusting[..], &certificate].concat())?;
        ensure!(with.status.success(), "with a certificate: {with:?}");
        let without = ask_xds(world, "waggle_envoy", xds, &trusting)?;
        ensure!(!without.status.success(), "without a certificate: {without:?}");
        let reason = "peer sent no certificates";
        ensure!(world.controller_log()?.contains(reason), "not for that: {without:?}");
        let (xds, plain) = ("http://waggle-controller:18000", ["--http2-prior-knowledge"]);
        let plain = ask_xds(world, "waggle_envoy", xds, &plain)?;
        ensure!(!plain.status.success(), "without TLS: {plain:?}");

        let dump = world.envoy("/config_dump?include_eds")?;
        ensure!(dump.contains("[redacted]"), "no secret is in the dump: is it complete?\n{dump}");
        let places = [
            ("/status", world.status()?.to_string()),
            ("the controller's log", world.controller_log()?),
            ("/config_dump", dump),
            ("Envoy's log", world.log("waggle_envoy")?),
        ];
        // The second line of a PEM file is the first of the key.
        let of_tls = pair.iter().filter_map(|it| it.key.lines().nth(1));
        let keys: Vec<&str> = SESSION_KEY.into_iter().chain(of_tls).collect();
        for (place, text) in places {
            let shown = keys.iter().find(|key| text.contains(**key));
            ensure!(shown.is_none(), "{shown:?} shows in {place}");
        }
        Ok(())
    })
}
