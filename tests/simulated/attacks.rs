//! An attacker's page: whatever a client or a task sends, no answer is a 5xx of the proxy's, no VM is
//! made anew, no address shows, and no client chooses its task. Debug headers, which name addresses,
//! are hidden.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use waggle_tests::client::{Answer, Client, Jar};
use waggle_tests::engine::Service;
use waggle_tests::frames::{self, Fate};
use waggle_tests::raw;
use waggle_tests::stage::{APP_PORT, Stage};
use waggle_tests::tokens::Tokens;

mod cookies;
mod headers;
mod tasks;
mod tokens;

const HOST: &str = "victim.local";

/// A path where the application tells what came and sets no cookie.
const PATH: &str = "/what-came";

/// The key that signs.
const KEY: &str = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY=";

/// Of so many answers without a session, one is from another task than a given one of four.
const TIMES: u32 = 40;

/// A service of four tasks, one of which an attacker wants to reach, and another service.
struct Scene {
    stage: Stage,
    service: Service,
    other: Service,
    /// What a session's cookie is made with.
    tokens: Tokens,
    keys: tempfile::TempDir,
    /// Answers of the proxy's own before the attack.
    failures: u64,
}

impl Scene {
    async fn start() -> Result<Self> {
        let keys = tempfile::tempdir()?;
        let file = keys.path().join("keys");
        std::fs::write(&file, KEY)?;
        let file = file.display().to_string();
        let arguments = ["--hide-info-headers", "--session-keys", &file];
        let mut stage = Stage::start_with(&arguments).await?;
        let sticky = |name: &str, host: &str| {
            stage.service(name, host).label(crate::sessions::STICKY, "session")
        };
        let (victim, other) = (sticky("victim", HOST).replicas(4), sticky("other", "other.local"));
        let (service, other) = (stage.deploy(victim).await?, stage.deploy(other).await?);
        let tokens = Tokens::new(KEY, "session_lb")?;
        let failures = failures(&stage)?;
        Ok(Self { stage, service, other, tokens, keys, failures })
    }

    /// A client of each protocol. That of HTTP/2 is new each time: Envoy may close the connection of
    /// one that floods it.
    async fn clients(&self) -> Result<[Client; 2]> {
        Ok([self.stage.client.clone(), Client::http2(self.stage.http).await?])
    }

    /// The task that an attacker wants to reach.
    fn target(&self) -> SocketAddr {
        (self.service.tasks()[0].address(), APP_PORT).into()
    }

    /// A valid token for the target.
    fn valid(&self) -> Result<String> {
        self.tokens.make(self.service.id(), self.target(), Duration::ZERO)
    }

    /// The addresses of all tasks.
    fn addresses(&self) -> Vec<IpAddr> {
        let tasks = self.service.tasks().into_iter().chain(self.other.tasks());
        tasks.map(|task| task.address()).collect()
    }

    /// Attacks by requests with these headers, over HTTP/1.1 and HTTP/2. Fails if they are led to the
    /// target.
    async fn attack(&self, case: &str, headers: &[(&str, &[u8])]) -> Result<()> {
        for client in &self.clients().await? {
            let ask = async || client.get_with(HOST, PATH, headers).await;
            self.is_not_led(ask).await.with_context(|| format!("{case} by {client:?}"))?;
        }
        Ok(())
    }

    /// Attacks by requests over HTTP/1.1 with this line, byte for byte.
    fn attack_by_line(&self, line: &[u8]) -> Result<()> {
        let bytes = raw::request(&format!("GET {PATH}"), HOST, line, "");
        let target = format!("\"instance\":\"{}\"", self.target().ip());
        for _ in 0..TIMES {
            let answer = raw::send(self.stage.http, &bytes)?;
            ensure!(matches!(answer.status, 200 | 400), "{answer:?}");
            ensure!(answer.header("x-waggle-endpoint").is_none(), "{answer:?}");
            let seen = answer.body.to_lowercase().replace('_', "-");
            ensure!(!seen.contains("\"x-waggle-endpoint\""), "the task saw {seen}");
            if answer.status != 200 || !answer.body.contains(&target) {
                return Ok(());
            }
        }
        anyhow::bail!("each of {TIMES} requests reached the target")
    }

    /// Attacks by a request over HTTP/2 with this field, byte for byte.
    async fn attack_by_field(&self, name: &[u8], value: &[u8]) -> Result<Fate> {
        let fields: [(&[u8], &[u8]); 5] = [
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":authority", HOST.as_bytes()),
            (b":path", PATH.as_bytes()),
            (name, value),
        ];
        frames::ask(self.stage.http, &fields).await
    }

    async fn is_not_led(&self, ask: impl AsyncFn() -> Result<Answer>) -> Result<()> {
        for _ in 0..TIMES {
            // A stream of HTTP/2 that Envoy resets is a request that it does not take.
            let Ok(answer) = ask().await else { return Ok(()) };
            self.shows_nothing(&answer)?;
            let status = answer.status.as_u16();
            ensure!(matches!(status, 200 | 400 | 431), "{answer:?}");
            if status != 200 || answered(&answer)? != self.target().ip() {
                return Ok(());
            }
        }
        anyhow::bail!("each of {TIMES} requests reached the target")
    }

    /// Fails if what a client sees of the proxy tells an address. What a task says of itself is its
    /// own.
    fn shows_nothing(&self, answer: &Answer) -> Result<()> {
        let lines = answer.headers.iter().chain(&answer.trailers);
        let mut told: Vec<&[u8]> = lines.map(|(_, value)| value.as_bytes()).collect();
        if answer.status != 200 {
            told.push(&answer.body);
        }
        for address in self.addresses() {
            ensure!(!told.iter().any(|told| shows(told, address)), "{address} shows: {answer:?}");
        }
        ensure!(!answer.headers.contains_key("x-waggle-endpoint"), "{answer:?}");
        Ok(())
    }

    /// Fails if the proxy was harmed, or if a valid session is no longer followed.
    async fn is_unharmed(&self) -> Result<()> {
        let mut jar = Jar::default();
        jar.set("session_lb", Some(&self.valid()?));
        for client in &self.clients().await? {
            for _ in 0..5 {
                let answer = client.get_as(&mut jar, HOST, PATH).await?;
                let reached = answered(&answer)?;
                ensure!(reached == self.target().ip(), "a valid token led to {reached}");
                ensure!(answer.set_cookies().is_empty(), "{answer:?}");
            }
        }
        ensure!(failures(&self.stage)? == self.failures, "the proxy answered with a 5xx");
        ensure!(self.stage.envoy.vm_reloads()? == 0, "a VM was made anew");
        let log = self.stage.envoy.log();
        ensure!(!log.contains("panicked"), "{log}");
        Ok(())
    }
}

/// The task that says that it answered. Fails if it saw of the request what is not for tasks.
fn answered(answer: &Answer) -> Result<IpAddr> {
    let seen = answer.json()?;
    let pairs: Vec<(String, String)> = serde_json::from_value(seen["headers"].clone())?;
    for (name, value) in &pairs {
        let mut cookies = value.split(';').filter(|_| name == "cookie");
        let ours = cookies.any(|pair| pair.trim().starts_with("session_lb="));
        let internal = name.replace('_', "-") == "x-waggle-endpoint";
        ensure!(!ours && !internal, "the task saw {pairs:?}");
    }
    Ok(answer.instance()?.parse()?)
}

/// How many answers of Envoy's had a status over 499.
fn failures(stage: &Stage) -> Result<u64> {
    stage.envoy.stat("http.http.downstream_rq_5xx")
}

/// Whether bytes tell an address: as text, as bytes or in hexadecimal, also within base64.
fn shows(bytes: &[u8], address: IpAddr) -> bool {
    let IpAddr::V4(four) = address else { return true };
    let octets = four.octets();
    let [one, two, three, last] = octets;
    let texts = [address.to_string(), format!("{one:02x}{two:02x}{three:02x}{last:02x}")];
    let has = |told: &[u8]| {
        let text = told.to_ascii_lowercase();
        let is_part = |sign: &[u8], told: &[u8]| told.windows(sign.len()).any(|it| it == sign);
        is_part(&octets, told) || texts.iter().any(|sign| is_part(sign.as_bytes(), &text))
    };
    let decoded = |word: &[u8]| {
        let padded = STANDARD.decode(word).ok();
        let plain = padded.or_else(|| URL_SAFE_NO_PAD.decode(word.trim_ascii_end()).ok());
        plain.is_some_and(|text| has(&text))
    };
    has(bytes) || bytes.split(|byte| b" ;,=\"".contains(byte)).any(decoded)
}

#[test]
fn an_address_is_found_however_it_is_written() {
    let address = [127, 66, 200, 7].into();
    for text in [
        "at 127.66.200.7:8080".to_owned(),
        format!("x={}; Path=/", STANDARD.encode("127.66.200.7:8080")).replace("==", ""),
        format!("x {}", STANDARD.encode("a127.66.200.7")),
        format!("x={}", URL_SAFE_NO_PAD.encode([1, 127, 66, 200, 7])),
        "7F42C807".to_owned(),
    ] {
        assert!(shows(text.as_bytes(), address), "{text}");
    }
    assert!(!shows(b"127.66.200.8 and AAAA", address));
}
