//! What a client hears, as transcripts: `cluster +a@1 -b` is a response with cluster `a` in version
//! 1, and with `b` removed.

use std::collections::{BTreeSet, HashMap};

use super::*;
use crate::envoy::Resource;
use crate::xds::fixtures::world;
use crate::xds::message::Names;

mod answers;
mod delta;
mod hosts;
mod model;
mod narrowing;
mod order;
mod reconnect;
mod whole;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Whole,
    Delta,
}

const BOTH: [Variant; 2] = [Variant::Whole, Variant::Delta];

/// A client that does what a test says.
struct Client {
    variant: Variant,
    stream: Stream,
    world: Arc<Snapshot>,
    /// What it last asked for, by type; and the last response that it read.
    asked: BTreeMap<Kind, Vec<String>>,
    nonces: BTreeMap<Kind, String>,
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

impl Client {
    fn new(variant: Variant, line: &str) -> Self {
        Self {
            variant,
            stream: Stream::new("n".into()),
            world: world(line),
            asked: BTreeMap::new(),
            nonces: BTreeMap::new(),
        }
    }

    /// A client that follows all types, as Envoy does.
    fn following(variant: Variant, line: &str, endpoints: &[&str], routes: &[&str]) -> Self {
        let mut client = Self::new(variant, line);
        client.ask(Kind::Cluster, &[]);
        client.ask(Kind::Endpoints, endpoints);
        client.ask(Kind::Listener, &[]);
        client.ask(Kind::Routes, routes);
        client.exchange();
        client
    }

    fn set(&mut self, line: &str) {
        self.world = world(line);
    }

    /// State of the world: asks for these. Delta: for these too.
    fn ask(&mut self, kind: Kind, names: &[&str]) {
        self.change(kind, names, &[]);
    }

    /// Delta: asks for these no longer.
    fn drop(&mut self, kind: Kind, names: &[&str]) {
        self.change(kind, &[], names);
    }

    fn change(&mut self, kind: Kind, names: &[&str], without: &[&str]) {
        self.asked.insert(kind, owned(names));
        let names = match self.variant {
            Variant::Whole => Names::Whole(owned(names)),
            Variant::Delta => Names::Delta {
                subscribe: owned(names),
                unsubscribe: owned(without),
                initial: HashMap::new(),
            },
        };
        self.send(kind, "", None, names);
    }

    /// Delta: opens a type with what it has from an earlier stream.
    fn resume(&mut self, kind: Kind, names: &[&str], initial: &[(&str, &str)]) {
        let initial = initial.iter().map(|&(name, version)| (name.into(), version.into()));
        let initial = initial.collect();
        let names = Names::Delta { subscribe: owned(names), unsubscribe: vec![], initial };
        self.send(kind, "of-another-stream", None, names);
    }

    fn send(&mut self, kind: Kind, nonce: &str, error: Option<&str>, names: Names) -> Heard {
        let request = Request {
            type_url: kind.type_url(),
            nonce: nonce.into(),
            error: error.map(str::to_owned),
            names,
        };
        match self.stream.request(request).unwrap() {
            Heard::Rejected(kind, rejection) => Heard::Rejected(in_either(kind), rejection),
            heard => heard,
        }
    }

    /// The next response, unanswered.
    fn read(&mut self) -> Option<Response> {
        let mut response = self.stream.next(&self.world)?;
        response.kind = in_either(response.kind);
        self.nonces.insert(response.kind, response.nonce.clone());
        Some(response)
    }

    fn answer(&mut self, kind: Kind, nonce: &str, error: Option<&str>) -> Heard {
        let names = match self.variant {
            Variant::Whole => Names::Whole(self.asked.get(&kind).cloned().unwrap_or_default()),
            Variant::Delta => {
                let (subscribe, unsubscribe) = (vec![], vec![]);
                Names::Delta { subscribe, unsubscribe, initial: HashMap::new() }
            }
        };
        self.send(kind, nonce, error, names)
    }

    /// Accepts the last response of a type.
    fn ack(&mut self, kind: Kind) {
        let nonce = self.nonces[&kind].clone();
        assert_eq!(self.answer(kind, &nonce, None), Heard::Nothing);
    }

    /// Rejects the last response of a type.
    fn nack(&mut self, kind: Kind) -> Rejection {
        let nonce = self.nonces[&kind].clone();
        match self.answer(kind, &nonce, Some("no")) {
            Heard::Rejected(of, rejection) if of == kind => rejection,
            other => panic!("{other:?}"),
        }
    }

    /// All that the server says before it waits for answers.
    fn listen(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.read()).map(|response| transcript(&response)).collect()
    }

    /// All that the server says to a client that accepts everything.
    fn exchange(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(response) = self.read() {
            said.push(transcript(&response));
            assert!(said.len() < 50, "the server does not come to rest: {said:?}");
            self.ack(response.kind);
        }
        said
    }
}

/// A kind by the name that it has in both variants.
fn in_either(kind: Kind) -> Kind {
    if kind == Kind::WholeRoutes { Kind::Routes } else { kind }
}

fn transcript(response: &Response) -> String {
    let kind = format!("{:?}", response.kind).to_lowercase();
    let has = response.resources.iter().map(|it| format!(" +{}@{}", it.name, it.version));
    let gone = response.removed.iter().map(|name| format!(" -{name}"));
    has.chain(gone).fold(kind, |said, word| said + &word)
}

const SILENCE: [&str; 0] = [];

#[test]
fn a_request_without_a_type_is_refused() {
    let mut stream = Stream::new("n".into());
    let names = Names::Whole(vec![]);
    let request = Request { type_url: String::new(), nonce: String::new(), error: None, names };
    assert_eq!(stream.request(request), Err(Refused::NoType));
}

#[test]
fn an_unknown_type_gets_no_answer_and_harms_no_other() {
    for type_url in ["type.googleapis.com/envoy.api.v2.Cluster", "x"] {
        let mut client = Client::new(Variant::Whole, "a/1/1");
        let names = Names::Whole(vec![]);
        let request =
            Request { type_url: type_url.into(), nonce: String::new(), error: None, names };
        assert_eq!(client.stream.request(request), Ok(Heard::UnknownType));
        assert_eq!(client.exchange(), SILENCE);
        client.ask(Kind::Cluster, &[]);
        assert_eq!(client.exchange(), ["cluster +a@1"]);
    }
}

#[test]
fn of_ten_queued_requests_the_newest_is_answered_once() {
    let mut client = Client::new(Variant::Whole, "a/1/1 b/1/1");
    (0..9).for_each(|_| client.ask(Kind::Endpoints, &["a"]));
    client.ask(Kind::Endpoints, &["b"]);
    assert_eq!(client.exchange(), ["endpoints +b@1"]);
}

#[test]
fn nonces_are_unique_and_two_streams_share_none() {
    let mut seen = BTreeSet::new();
    for prefix in ["n", "m"] {
        let mut client = Client::new(Variant::Delta, "a/1/1 b/1/1 r/1=a http/1>r");
        client.stream = Stream::new(prefix.into());
        client.ask(Kind::Cluster, &[]);
        client.ask(Kind::Endpoints, &["a"]);
        while let Some(response) = client.read() {
            assert!(seen.insert(response.nonce.clone()), "{}", response.nonce);
            client.ack(response.kind);
        }
    }
    assert_eq!(seen.len(), 4);
}
