//! One Compose file → the stack that it describes, each thing with its line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

use super::finding::{Finding, Place};
use super::stack::{Label, Origin, Resource, Service, Stack};
use super::variables::{self, Environment, Fault};
use super::yaml::{self, Entry, Map, Node, Scalar, Unreadable, Value};
use crate::labels::{PREFIX, Severity};

/// File names that say nothing about the stack: it is named by the folder then.
const COMMON: [&str; 4] = ["compose", "docker-compose", "docker-stack", "stack"];

/// A file's name and text.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// As it was given; `-` is the standard input.
    pub(super) name: Rc<str>,
    /// What is in it.
    pub(super) text: String,
}

/// Reads a file. The stack's name is `stack`; else the file's `name`, else what the path says.
pub(super) fn read(
    source: &Source,
    stack: Option<&str>,
    environment: Environment<'_>,
) -> Result<Stack, Unreadable> {
    let root = yaml::parse(&source.text)?;
    let top = map(&root, "a Compose file")?;
    let services = top
        .get("services")
        .ok_or_else(|| Unreadable::whole("no `services`: this is no Compose file"))?;
    let mut reader = Reader { file: &source.name, environment, about: None, findings: Vec::new() };
    let own_name = top.get("name").map(|entry| reader.text(&entry.node, "name")).transpose()?;
    let name = stack.map(str::to_owned).or(own_name.filter(|name| !name.is_empty()));
    let name = name.unwrap_or_else(|| stack_name(Path::new(&*source.name)));
    let networks = reader.resources(top, "networks", &name)?;
    let secrets = reader.resources(top, "secrets", &name)?;
    let services = reader.services(services, &name)?;
    Ok(Stack { name, services, networks, secrets, findings: reader.findings })
}

/// The stack's name that a path suggests: the file's own (`shop.yml`, `shop.prod.yml`: `shop`),
/// or the folder's where the file is only called `compose.yml` or alike.
fn stack_name(path: &Path) -> String {
    let text = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
    let file = path.file_name().map(text).unwrap_or_default();
    let stem = file.split('.').find(|part| !part.is_empty()).unwrap_or_default();
    if !COMMON.contains(&stem) && stem != "-" {
        return normal(stem);
    }
    let folder = std::path::absolute(path).ok();
    let folder = folder.as_deref().and_then(Path::parent).and_then(Path::file_name).map(text);
    normal(&folder.unwrap_or_default())
}

/// A name as Compose normalises it; one that nothing is left of is `stack`.
fn normal(name: &str) -> String {
    let name = name.to_lowercase();
    let kept = name.chars().filter(|c| c.is_ascii_alphanumeric() || "_-".contains(*c));
    match kept.collect::<String>().trim_start_matches(['_', '-']) {
        "" => "stack".to_owned(),
        name => name.to_owned(),
    }
}

/// Reads the parts of one file.
struct Reader<'a> {
    file: &'a Rc<str>,
    environment: Environment<'a>,
    /// The service that is read.
    about: Option<String>,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn place(&self, line: usize) -> Place {
        Place { file: Rc::clone(self.file), line: Some(line) }
    }

    fn services(
        &mut self,
        entry: &Entry,
        stack: &str,
    ) -> Result<BTreeMap<Rc<str>, Service>, Unreadable> {
        let mut services = BTreeMap::new();
        for (name, entry) in map(&entry.node, "`services`")? {
            self.about = Some(format!("{stack}_{name}"));
            services.insert(Rc::clone(name), self.service(entry)?);
        }
        self.about = None;
        Ok(services)
    }

    fn service(&mut self, entry: &Entry) -> Result<Service, Unreadable> {
        let service = map(&entry.node, "a service")?;
        let nothing = Map::new();
        let deploy = service.get("deploy");
        let deploy = deploy.map(|entry| map_or_nothing(&entry.node, "deploy")).transpose()?;
        let deploy = deploy.flatten().unwrap_or(&nothing);
        let mut setting =
            |name: &str| deploy.get(name).map(|entry| self.text(&entry.node, name)).transpose();
        let mode = setting("mode")?;
        let replicas = setting("replicas")?;
        let endpoint_mode = setting("endpoint_mode")?;
        Ok(Service {
            place: self.place(entry.line),
            labels: self.labels(deploy, "`deploy.labels`")?,
            misplaced: self.labels(service, "`labels`")?,
            networks: self.attachments(service)?,
            mode,
            replicas,
            endpoint_mode,
        })
    }

    /// All labels, from a map or a list; only of ours is told what is wrong with them as YAML.
    fn labels(&mut self, of: &Map, what: &str) -> Result<BTreeMap<String, Label>, Unreadable> {
        let mut labels = BTreeMap::new();
        let Some(entry) = of.get("labels") else { return Ok(labels) };
        match &entry.node.value {
            Value::Scalar(Scalar::Null) => {}
            Value::Scalar(_) => return Err(no_map(&entry.node, what)),
            Value::Map(map) => {
                for (key, entry) in map {
                    let (value, faults) = self.replaced(&entry.node, key)?;
                    let label = Label { value, place: self.place(entry.line) };
                    if is_ours(key) {
                        self.tell_faults(faults, entry.line, Some((key, written(&entry.node))));
                        self.tell_boolean(key, &entry.node, &label);
                    }
                    labels.insert((**key).to_owned(), label);
                }
            }
            Value::List(items) => {
                for item in items {
                    let (text, faults) = self.replaced(item, what)?;
                    let (key, value) = text.split_once('=').unwrap_or((&text, ""));
                    if is_ours(key) {
                        let written = written(item).and_then(|item| item.split_once('='));
                        self.tell_faults(faults, item.line, Some((key, written.map(|it| it.1))));
                    }
                    let label = Label { value: value.to_owned(), place: self.place(item.line) };
                    labels.insert(key.to_owned(), label);
                }
            }
        }
        Ok(labels)
    }

    /// The keys of a service's networks, from a map or a list.
    fn attachments(&mut self, service: &Map) -> Result<BTreeMap<String, Place>, Unreadable> {
        let mut networks = BTreeMap::new();
        let Some(entry) = service.get("networks") else { return Ok(networks) };
        match &entry.node.value {
            Value::Scalar(Scalar::Null) => {}
            Value::Scalar(_) => return Err(no_map(&entry.node, "`networks`")),
            Value::Map(map) => {
                let named =
                    |(key, entry): (&Rc<str>, &Entry)| ((**key).to_owned(), self.place(entry.line));
                networks.extend(map.iter().map(named));
            }
            Value::List(items) => {
                for item in items {
                    networks.insert(self.text(item, "networks")?, self.place(item.line));
                }
            }
        }
        Ok(networks)
    }

    /// The top-level `networks` or `secrets`.
    fn resources(
        &mut self,
        top: &Map,
        kind: &str,
        stack: &str,
    ) -> Result<BTreeMap<Rc<str>, Resource>, Unreadable> {
        let mut resources = BTreeMap::new();
        let Some(entry) = top.get(kind) else { return Ok(resources) };
        for (key, entry) in map_or_nothing(&entry.node, kind)?.into_iter().flatten() {
            let resource = self.resource(key, entry, stack)?;
            resources.insert(Rc::clone(key), resource);
        }
        Ok(resources)
    }

    fn resource(&mut self, key: &str, entry: &Entry, stack: &str) -> Result<Resource, Unreadable> {
        let nothing = Map::new();
        let fields = map_or_nothing(&entry.node, key)?.unwrap_or(&nothing);
        let mut field = |name: &str, of: &Map| {
            let text = of.get(name).map(|entry| self.text(&entry.node, name)).transpose();
            text.map(|text| text.filter(|text| !text.is_empty()))
        };
        let mut name = field("name", fields)?;
        let driver = field("driver", fields)?;
        let origin = match fields.get("external").map(|entry| &entry.node.value) {
            // `external: { name: … }` is the form of Compose before 3.5.
            Some(Value::Map(external)) => {
                name = field("name", external)?.or(name);
                Origin::External
            }
            Some(Value::Scalar(_)) if field("external", fields)?.as_deref() == Some("true") => {
                Origin::External
            }
            _ => Origin::Stack,
        };
        let name = name.unwrap_or_else(|| match origin {
            Origin::External => key.to_owned(),
            Origin::Stack => format!("{stack}_{key}"),
        });
        Ok(Resource { name, origin, driver })
    }

    /// A scalar with its variables replaced; what is wrong with them is told.
    fn text(&mut self, node: &Node, what: &str) -> Result<String, Unreadable> {
        let (text, faults) = self.replaced(node, what)?;
        self.tell_faults(faults, node.line, None);
        Ok(text)
    }

    fn replaced(&self, node: &Node, what: &str) -> Result<(String, Vec<Fault>), Unreadable> {
        match &node.value {
            Value::Scalar(Scalar::Text(text)) => Ok(variables::replace(text, self.environment)),
            Value::Scalar(Scalar::Boolean(value)) => Ok((value.to_string(), Vec::new())),
            Value::Scalar(Scalar::Null) => Ok((String::new(), Vec::new())),
            Value::List(_) | Value::Map(_) => {
                Err(Unreadable::at(node.line, format!("`{what}` must be a text")))
            }
        }
    }

    fn tell_faults(
        &mut self,
        faults: Vec<Fault>,
        line: usize,
        label: Option<(&str, Option<&str>)>,
    ) {
        let distinct: BTreeSet<_> = faults.into_iter().collect();
        for fault in distinct {
            let (code, severity, message, fix) = match fault {
                Fault::Unset(name) => (
                    "unset-variable",
                    Severity::Warning,
                    format!("the variable `{name}` is not set; it counts as empty"),
                    format!("set `{name}`, or write a default: `${{{name}:-default}}`"),
                ),
                Fault::Required(name, said) => (
                    "missing-variable",
                    Severity::Error,
                    format!("the variable `{name}` is required: {said}; here it counts as empty"),
                    format!("set `{name}`"),
                ),
                Fault::Malformed => (
                    "bad-variable",
                    Severity::Error,
                    "a `$` that begins no variable; `docker stack deploy` refuses the file"
                        .to_owned(),
                    "write `$$` for a `$`".to_owned(),
                ),
            };
            let mut finding = Finding::new(self.place(line), code, severity, message, fix);
            finding.service.clone_from(&self.about);
            if let Some((key, value)) = label {
                finding = finding.at(key, value);
            }
            self.findings.push(finding);
        }
    }

    fn tell_boolean(&mut self, key: &str, node: &Node, label: &Label) {
        let Value::Scalar(Scalar::Boolean(value)) = node.value else { return };
        let message = "`docker stack deploy` refuses a boolean as a label's value";
        let fix = format!("quote it: `{key}: \"{value}\"`");
        let severity = Severity::Warning;
        let finding = Finding::new(label.place.clone(), "boolean-label", severity, message, fix);
        let finding = Finding { service: self.about.clone(), ..finding };
        self.findings.push(finding.at(key, Some(&label.value)));
    }
}

/// Whether a label is one that Waggle reads.
fn is_ours(key: &str) -> bool {
    key.starts_with(PREFIX)
}

/// A scalar as it is written, variables and all.
fn written(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar(Scalar::Text(text)) => Some(text),
        _ => None,
    }
}

fn map<'a>(node: &'a Node, what: &str) -> Result<&'a Map, Unreadable> {
    match &node.value {
        Value::Map(map) => Ok(map),
        Value::List(_) | Value::Scalar(_) => {
            Err(Unreadable::at(node.line, format!("{what} must be a map")))
        }
    }
}

fn map_or_nothing<'a>(node: &'a Node, what: &str) -> Result<Option<&'a Map>, Unreadable> {
    match &node.value {
        Value::Scalar(Scalar::Null) => Ok(None),
        _ => map(node, &format!("`{what}`")).map(Some),
    }
}

fn no_map(node: &Node, what: &str) -> Unreadable {
    Unreadable::at(node.line, format!("{what} must be a map or a list"))
}
