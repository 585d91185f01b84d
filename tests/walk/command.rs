//! What a user types. What is shown is what runs, word by word.

use std::fmt;

/// The network of all services of the walk; `examples/stack.yml` makes it.
pub(crate) const NETWORK: &str = "waggle-apps";
/// The port that the demo application listens on.
pub(crate) const PORT: u16 = 8080;

/// A line longer than this is shown with an option a line.
const LONG: usize = 84;

/// A `docker` command.
#[derive(Debug, Clone)]
pub(crate) enum Docker {
    /// `docker service create`
    Create(Service),
    /// `docker service scale`
    Scale(&'static str, u64),
    /// `docker service update` of labels
    Relabel {
        /// The service.
        service: &'static str,
        /// Labels to set, without the prefix.
        add: Vec<Label>,
        /// Labels to remove, without the prefix.
        remove: Vec<&'static str>,
    },
}

/// A label's name without the prefix, and its value.
pub(crate) type Label = (&'static str, &'static str);

/// A service to be created.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    /// Its name; the demo application tells it as `metadata`.
    pub(crate) name: &'static str,
    /// How many tasks.
    pub(crate) replicas: u64,
    /// Its labels.
    pub(crate) labels: Vec<Label>,
}

/// Our labels' prefix.
pub(crate) fn key(label: &str) -> String {
    format!("com.docker.lb.{label}")
}

impl Service {
    /// A service with the labels of any: hosts and port.
    pub(crate) fn new(name: &'static str, hosts: &'static str, replicas: u64) -> Self {
        Self { name, replicas, labels: vec![("hosts", hosts), ("port", "8080")] }
    }

    /// The same with one more label.
    pub(crate) fn label(mut self, name: &'static str, value: &'static str) -> Self {
        self.labels.push((name, value));
        self
    }
}

impl Docker {
    /// The whole command.
    pub(crate) fn line(&self) -> Line {
        let mut line = Line::of("docker service");
        match self {
            Self::Create(Service { name, replicas, labels }) => {
                let head =
                    format!("create --name {name} --network {NETWORK} --replicas {replicas}");
                line.add(&head);
                for (label, value) in labels {
                    line.add(&format!("--label {}={value}", key(label)));
                }
                line.add(&format!("--env METADATA={name} waggle/demo"));
            }
            Self::Scale(service, replicas) => line.add(&format!("scale {service}={replicas}")),
            Self::Relabel { service, add, remove } => {
                line.add("update");
                for label in remove {
                    line.add(&format!("--label-rm {}", key(label)));
                }
                for (label, value) in add {
                    line.add(&format!("--label-add {}={value}", key(label)));
                }
                line.add(service);
            }
        }
        line
    }
}

/// A command, word by word.
#[derive(Debug, Clone)]
pub(crate) struct Line(Vec<String>);

impl Line {
    /// The words of a text without quotes.
    pub(crate) fn of(text: &str) -> Self {
        Self(text.split_whitespace().map(ToOwned::to_owned).collect())
    }

    /// `curl` of a page of a host, by a proxy; `options` come first.
    pub(crate) fn curl(options: &str, host: &str, url: &str) -> Self {
        let mut line = Self::of(&format!("curl {options} -H"));
        line.0.push(format!("Host: {host}"));
        line.0.push(url.to_owned());
        line
    }

    /// Asks Docker for the virtual IP of a service, with its prefix length.
    pub(crate) fn inspect_vip(service: &str) -> Self {
        let mut line = Self::of("docker service inspect --format");
        line.0.push("{{(index .Endpoint.VirtualIPs 0).Addr}}".to_owned());
        line.0.push(service.to_owned());
        line
    }

    fn add(&mut self, text: &str) {
        self.0.extend(Self::of(text).0);
    }

    /// The words behind the program.
    pub(crate) fn arguments(&self) -> &[String] {
        self.0.get(1..).unwrap_or_default()
    }
}

impl fmt::Display for Line {
    /// As it is typed into a shell.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(|word| quoted(word)).collect();
        let line = words.join(" ");
        if line.len() <= LONG {
            return out.write_str(&line);
        }
        let lines =
            line.replace(" --label", " \\\n    --label").replace(" --env", " \\\n    --env");
        out.write_str(&lines)
    }
}

fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_=.:/,".contains(letter);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{word}'") }
}
