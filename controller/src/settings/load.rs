//! Where each setting's value comes from: the flag, else the variable, else the file, else the
//! default. clap knows flags and defaults; what variables and file say is handed to it as defaults,
//! each value checked first by the same parser that checks flags.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory as _, FromArgMatches as _};

use super::effective::{Effective, Origin, shown};
use super::{Cli, Command, file};

/// The subcommand with settings.
const SERVE: &str = "serve";

/// Flags that are no settings: they are about the settings.
const NO_SETTINGS: [&str; 3] = ["config", "print_config", "help"];

/// Docker's own variable for what `docker` is here.
const DOCKER_HOST: &str = "DOCKER_HOST";

/// Why there are no settings to go on with.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The command line: an error, or a wish for help.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// The file cannot be read.
    #[error("--config {}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// What is wrong in the file and in the variables, a line each.
    #[error("{}", .0.join("\n"))]
    Faults(Vec<String>),
}

impl Cli {
    /// Reads this process's command line, variables and file.
    pub fn load() -> Result<Self, LoadError> {
        let arguments: Vec<_> = std::env::args_os().collect();
        Self::read(&arguments, |name| std::env::var_os(name))
    }

    /// Reads a command line; variables by `variable`, where an empty one is none.
    pub fn read(
        arguments: &[OsString],
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, LoadError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let command = Self::command();
        let matches = command.clone().try_get_matches_from(arguments)?;
        let Some((SERVE, flags)) = matches.subcommand() else {
            return Ok(Self::from_arg_matches(&matches)?);
        };
        let config = flags.get_one::<PathBuf>("config").cloned();
        let config = config.or_else(|| variable("WAGGLE_CONFIG").map(PathBuf::from));
        let layers = Layers::read(&command, flags, config.as_deref(), variable)?;

        let command = command.mut_subcommand(SERVE, |serve| layers.put_into(serve));
        let matches = command.try_get_matches_from(arguments)?;
        let mut cli = Self::from_arg_matches(&matches)?;
        if let (Command::Serve(serve), Some((_, flags))) = (&mut cli.command, matches.subcommand())
        {
            serve.effective = layers.effective(flags);
            serve.warnings = layers.warnings;
        }
        Ok(cli)
    }
}

/// The settings of `waggle serve`, as clap describes them.
pub(super) fn settings(command: &clap::Command) -> impl Iterator<Item = &Arg> {
    let serve = command.find_subcommand(SERVE).into_iter();
    let arguments = serve.flat_map(clap::Command::get_arguments);
    arguments.filter(|arg| !NO_SETTINGS.contains(&arg.get_id().as_str()))
}

/// A setting's name: on the command line after `--`, and in the file.
pub(super) fn name(setting: &Arg) -> &str {
    setting.get_long().unwrap_or_default()
}

/// A setting's variable.
pub(super) fn variable_of(setting: &Arg) -> String {
    format!("WAGGLE_{}", name(setting).to_ascii_uppercase().replace('-', "_"))
}

/// Whether a setting takes several values.
fn is_list(setting: &Arg) -> bool {
    matches!(setting.get_action(), ArgAction::Append)
}

/// What variables and file say, of each setting the one that counts.
struct Layers {
    settings: Vec<Arg>,
    /// By clap's ID.
    given: BTreeMap<String, (Vec<OsString>, Origin)>,
    warnings: Vec<String>,
}

impl Layers {
    fn read(
        command: &clap::Command,
        flags: &ArgMatches,
        config: Option<&Path>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, LoadError> {
        let settings: Vec<_> = settings(command).cloned().collect();
        let mut file = match config {
            Some(path) => {
                let failed = |cause| LoadError::File { path: path.to_owned(), cause };
                let text = fs::read_to_string(path).map_err(failed)?;
                let names: BTreeSet<_> = settings.iter().map(|it| name(it).to_owned()).collect();
                file::read(&text, &names)
            }
            None => file::Reading::default(),
        };
        let path = config.unwrap_or(Path::new("")).display().to_string();
        let told = |remark: &file::Remark| format!("{path}:{}: {}", remark.line, remark.text);
        // In the order of the file; the variables' behind.
        let mut faults: Vec<_> = file.errors.iter().map(|it| (it.line, told(it))).collect();

        let mut given = BTreeMap::new();
        for setting in &settings {
            // The last one counts, but each is checked.
            let mut sources = Vec::new();
            sources.extend(file.given.remove(name(setting)).map(|given| {
                let origin = Origin::File { path: path.clone(), line: given.line, key: given.key };
                (given.values.into_iter().map(OsString::from).collect(), origin)
            }));
            let own = variable_of(setting);
            sources.extend(variable(&own).map(|value| (vec![value], Origin::Variable(own))));
            // Not ours: it may be anything, as long as nobody needs it.
            let flag = flags.value_source(setting.get_id().as_str());
            if sources.is_empty()
                && name(setting) == "docker"
                && flag != Some(ValueSource::CommandLine)
            {
                let origin = Origin::Variable(DOCKER_HOST.to_owned());
                sources.extend(variable(DOCKER_HOST).map(|value| (vec![value], origin)));
            }
            for (values, origin) in sources {
                if let Err(expected) = check(command, setting, &values) {
                    let line =
                        if let Origin::File { line, .. } = origin { line } else { usize::MAX };
                    faults.push((line, fault(&origin, &values, &expected)));
                }
                given.insert(setting.get_id().to_string(), (values, origin));
            }
        }
        if !faults.is_empty() {
            faults.sort_by_key(|(line, _)| *line);
            return Err(LoadError::Faults(faults.into_iter().map(|(_, fault)| fault).collect()));
        }
        let warnings = file.warnings.iter().map(told).collect();
        Ok(Self { settings, given, warnings })
    }

    fn put_into(&self, mut serve: clap::Command) -> clap::Command {
        for (id, (values, _)) in &self.given {
            serve = serve.mut_arg(id, |setting| setting.default_values(values.clone()));
        }
        serve
    }

    fn effective(&self, flags: &ArgMatches) -> Vec<Effective> {
        let effective = |setting: &Arg| {
            let id = setting.get_id().as_str();
            let values = flags.get_raw(id).into_iter().flatten();
            let origin = match (flags.value_source(id), self.given.get(id)) {
                (Some(ValueSource::CommandLine), _) => Origin::Flag,
                (_, Some((_, origin))) => origin.clone(),
                (_, None) => Origin::Default,
            };
            Effective {
                name: name(setting).to_owned(),
                values: values.map(|value| shown(&value.to_string_lossy())).collect(),
                list: is_list(setting),
                origin,
            }
        };
        self.settings.iter().map(effective).collect()
    }
}

/// Has clap read these values as if they were flags; what it expected instead, if it does not take
/// them.
fn check(command: &clap::Command, setting: &Arg, values: &[OsString]) -> Result<(), String> {
    if !is_list(setting) && values.len() != 1 {
        return Err("expected one value, no list".to_owned());
    }
    let flag = |value: &OsString| {
        let mut flag = OsString::from(format!("--{}=", name(setting)));
        flag.push(value);
        flag
    };
    let start = ["waggle", SERVE].map(OsString::from);
    let line = start.into_iter().chain(values.iter().map(flag));
    let Err(error) = command.clone().try_get_matches_from(line) else { return Ok(()) };
    if let Some(cause) = error.source() {
        return Err(cause.to_string());
    }
    Err(match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(known)) if !known.is_empty() => {
            format!("expected `{}`", known.join("` or `"))
        }
        _ => "expected a value".to_owned(),
    })
}

/// What is wrong with a value: where it is from, the value, what was expected.
fn fault(origin: &Origin, values: &[OsString], expected: &str) -> String {
    let values = values.iter().map(|value| shown(&value.to_string_lossy()));
    let values = values.collect::<Vec<_>>().join(" ");
    match origin {
        Origin::File { path, line, key } => {
            format!("{path}:{line}: {key} = {values:?}: {expected}")
        }
        Origin::Variable(name) => format!("{name}={values:?}: {expected}"),
        Origin::Flag | Origin::Default => format!("{values:?}: {expected}"),
    }
}
