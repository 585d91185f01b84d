//! TLS with certificates of Docker secrets: mounted by the told command, replaced, broken; and TLS
//! that passes through.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use waggle_tests::authority::{Authority, Signed};
use waggle_tests::load::Load;
use waggle_tests::tls::{BOTH, Connection, TlsClient};

use crate::modes::routed;
use crate::world::{ENVOY, World, address, metadata, on_stack, upstream, wait};

/// The example stack, an authority, and a client that believes it.
struct Secured<'a> {
    world: &'a World,
    authority: Authority,
    client: TlsClient,
}

fn on_secured(test: impl FnOnce(&Secured<'_>) -> Result<()>) -> Result<()> {
    on_stack(|world| {
        let authority = Authority::new()?;
        let published = SocketAddr::from((Ipv4Addr::LOCALHOST, 443));
        let client = TlsClient::new(published, &authority)?;
        test(&Secured { world, authority, client })
    })
}

/// The labels that name a certificate's secrets, each after `option`.
fn labels(option: &str, name: &str) -> String {
    let label = |part: &str| format!("{option} com.docker.lb.ssl_{part}={name}.{part}");
    format!("{} {}", label("cert"), label("key"))
}

impl Secured<'_> {
    /// Makes a certificate's secrets, `NAME.cert` and `NAME.key`.
    fn secrets(&self, name: &str, certificate: &Signed) -> Result<()> {
        self.world.secret(&format!("{name}.cert"), &certificate.certificate)?;
        self.world.secret(&format!("{name}.key"), &certificate.key)
    }

    /// A certificate for a host, as secrets.
    fn sign(&self, name: &str, host: &str) -> Result<Signed> {
        let certificate = self.authority.sign(host)?;
        self.secrets(name, &certificate)?;
        Ok(certificate)
    }

    /// Mounts certificates' secrets into the proxy, all at once.
    fn mount(&self, names: &[&str]) -> Result<()> {
        let add = |name: &&str| format!("--secret-add {name}.cert --secret-add {name}.key");
        let add = names.iter().map(add).collect::<Vec<_>>().join(" ");
        self.world.docker(&format!("service update --detach=false {add} {ENVOY}")).map(drop)
    }

    /// Creates a service with the host `NAME.local` and this certificate.
    fn create(&self, name: &str, certificate: &str) -> Result<()> {
        let labels = labels("--label", certificate);
        let options = format!("{} {labels}", routed(&format!("{name}.local")));
        self.world.create(name, 1, &options).map(drop)
    }

    fn connect(&self, host: &str) -> Result<Connection> {
        self.world.answer(host, self.client.connect(host, BOTH))
    }

    /// Asks on a connection; the answer has to be a 200 of this service.
    fn ask(&self, connection: &mut Connection, host: &str, service: &str) -> Result<()> {
        let answer = self.world.answer(host, connection.get(host, "/ping"))?;
        ensure!(answer.status == 200 && metadata(&answer) == service, "{host}: {answer:?}");
        Ok(())
    }

    /// Waits until a host shows this certificate.
    fn wait_shown(&self, host: &str, certificate: &Signed) -> Result<Connection> {
        wait(&format!("{host} shows its certificate"), || {
            let connection = self.connect(host)?;
            Ok(connection.is_with(certificate)?.then_some(connection))
        })
    }
}

#[test]
fn secrets_that_the_proxy_lacks_are_told_and_the_told_commands_mend_it() -> Result<()> {
    on_secured(|at| {
        let world = at.world;
        let certificate = at.sign("tls", "tls.local")?;
        world.deploy("tls")?;
        let tasks = world.settle("tls_app", 2)?;
        let codes = ["secret-without-proxy"; 2];
        let problems = world.wait_problems("tls_app", &codes)?;
        let fixes = problems.iter().filter_map(|problem| problem["fix"].as_str());
        let fixes: BTreeSet<&str> = fixes.collect();
        let commands = ["cert", "key"]
            .map(|part| format!("docker service update --secret-add tls.{part} waggle_envoy"));
        ensure!(fixes.iter().eq(&commands), "{problems:#?}");
        ensure!(problems.iter().all(|it| it["severity"] == "error"), "{problems:#?}");
        let answer = world.wait_answer("tls.local", 200)?;
        ensure!(metadata(&answer) == "tls", "plain HTTP: {answer:?}");
        ensure!(at.connect("tls.local").is_err(), "TLS without a certificate");

        for (command, left) in commands.iter().zip([1, 0]) {
            world.shell(command)?;
            world.wait_problems("tls_app", &codes[..left])?;
        }
        let mut connection = at.wait_shown("tls.local", &certificate)?;
        ensure!(connection.protocol.as_deref() == Some("h2"), "{connection:?}");
        let answer = world.answer("tls.local", connection.get("tls.local", "/ping"))?;
        ensure!(answer.status == 200 && metadata(&answer) == "tls", "{answer:?}");
        let tasks: Vec<_> = tasks.iter().map(address).collect::<Result<_>>()?;
        ensure!(tasks.iter().any(|it| it.to_string() == upstream(&answer)), "{answer:?}");
        world.wait_answer("tls.local", 200)?;
        world.wait_answer("demo.local", 200)?;

        // As the example's comment has it.
        std::fs::write("/run/authority.pem", at.authority.pem())?;
        let curl = "curl --silent --show-error --fail --cacert /run/authority.pem \
                    --connect-to ::127.0.0.1: https://tls.local/ping";
        let answer = world.shell(curl)?;
        ensure!(answer.contains("\"metadata\":\"tls\""), "{answer}");
        // A host without a certificate has no way in by TLS.
        ensure!(at.connect("demo.local").is_err(), "demo.local takes TLS");
        Ok(())
    })
}

#[test]
fn a_certificate_replaced_by_its_labels_costs_no_request() -> Result<()> {
    on_secured(|at| {
        let world = at.world;
        let (old, new) = (at.sign("web", "web.local")?, at.sign("web2", "web.local")?);
        let other = at.sign("other", "other.local")?;
        at.mount(&["web", "web2", "other"])?;
        for name in ["web", "other"] {
            at.create(name, name)?;
        }
        at.wait_shown("web.local", &old)?;
        let mut of_other = at.wait_shown("other.local", &other)?;
        at.ask(&mut of_other, "other.local", "other")?;
        let before = (world.container(ENVOY)?, world.swarm.tasks("web")?);

        let kept = ["h2", "http/1.1"].map(|it| at.client.clone().kept("web.local", it));
        let fresh = at.client.clone().fresh("web.local");
        let load = world.runtime.block_on(async { Load::of(kept.into_iter().chain([fresh])) });
        let relabelled = world.runtime.block_on(load.go_on(100)).and_then(|()| {
            let labels = labels("--label-add", "web2");
            world.docker(&format!("service update --detach {labels} web"))?;
            at.wait_shown("web.local", &new)?;
            world.runtime.block_on(load.go_on(200))
        });
        relabelled.and(world.runtime.block_on(load.end()))?;

        at.ask(&mut of_other, "other.local", "other")?;
        ensure!((world.container(ENVOY)?, world.swarm.tasks("web")?) == before, "other tasks run");
        Ok(())
    })
}

#[test]
fn a_broken_certificate_is_told_and_harms_no_other_host() -> Result<()> {
    on_secured(|at| {
        let world = at.world;
        let good = at.sign("good", "good.local")?;
        let mended = at.sign("mended", "cut.local")?;
        let whole = at.authority.sign("cut.local")?;
        let half = whole.certificate.split_at(whole.certificate.len() / 2).0;
        at.secrets("cut", &Signed { certificate: half.to_owned(), ..whole.clone() })?;
        at.secrets("alien", &Signed { key: good.key.clone(), ..whole })?;
        at.mount(&["good", "mended", "cut", "alien"])?;
        at.create("good", "good")?;
        let mut of_good = at.wait_shown("good.local", &good)?;
        at.ask(&mut of_good, "good.local", "good")?;

        for name in ["cut", "alien"] {
            at.create(name, name)?;
            let problems = world.wait_problems(name, &["certificate-refused"])?;
            ensure!(problems[0]["severity"] == "error", "{problems:#?}");
            let message = problems[0]["message"].as_str().unwrap_or_default();
            let names = format!("`{name}.cert` and `{name}.key`");
            ensure!(message.contains(&names), "{problems:#?}");
            let host = format!("{name}.local");
            let answer = world.wait_answer(&host, 200)?;
            ensure!(metadata(&answer) == name, "plain HTTP: {answer:?}");
            ensure!(at.connect(&host).is_err(), "{host} takes TLS");
            at.ask(&mut of_good, "good.local", "good")?;
            let mut fresh = at.wait_shown("good.local", &good)?;
            at.ask(&mut fresh, "good.local", "good")?;
            world.wait_problems("good", &[])?;
        }

        let labels = labels("--label-add", "mended");
        world.docker(&format!("service update --detach {labels} cut"))?;
        let mut connection = at.wait_shown("cut.local", &mended)?;
        at.ask(&mut connection, "cut.local", "cut")?;
        world.wait_problems("cut", &[])?;
        at.ask(&mut of_good, "good.local", "good")
    })
}

#[test]
fn tls_passes_through_beside_a_host_whose_tls_ends_here() -> Result<()> {
    on_secured(|at| {
        let world = at.world;
        let ended = at.sign("tls", "tls.local")?;
        let through = at.sign("through", "through.local")?;
        at.mount(&["tls"])?;
        for (stack, service) in [("tls", "tls_app"), ("passthrough", "passthrough_app")] {
            world.deploy(stack)?;
            world.settle(service, 2)?;
            world.wait_problems(service, &[])?;
        }
        let mut of_ended = at.wait_shown("tls.local", &ended)?;
        at.ask(&mut of_ended, "tls.local", "tls")?;

        let mut instances = BTreeSet::new();
        for _ in 0..10 {
            let mut connection = at.wait_shown("through.local", &through)?;
            let answer = world.answer("through", connection.get("through.local", "/ping"))?;
            ensure!(metadata(&answer) == "passthrough", "{answer:?}");
            let added = answer.headers.keys().find(|name| name.as_str().starts_with("x-"));
            ensure!(added.is_none(), "somebody read what passes through: {answer:?}");
            instances.insert(answer.instance()?);
        }
        ensure!(instances.len() == 2, "{instances:?}");

        let plain = world.get("through.local", "/a?b=c")?;
        ensure!(plain.status == 301, "{plain:?}");
        ensure!(plain.header("location") == "https://through.local/a?b=c", "{plain:?}");
        let astray = world.answer("tls.local", of_ended.get("through.local", "/ping"))?;
        ensure!(astray.status == 421, "{astray:?}");
        at.ask(&mut of_ended, "tls.local", "tls")
    })
}
