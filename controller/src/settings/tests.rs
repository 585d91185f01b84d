//! Which of several values counts, and that the documentation says what the code does.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write as _;

use clap::CommandFactory as _;
use proptest::prelude::*;
use tempfile::NamedTempFile;

use super::interlock::{KEYS, Meaning};
use super::*;
use crate::envoy::limits::Timeout;

const DOCUMENTATION: &str = include_str!("../../../docs/settings.md");

/// Reads a command line after `waggle serve`, with these variables.
fn serve(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Serve, String> {
    let line = ["waggle", "serve"].iter().chain(arguments).map(OsString::from);
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    match Cli::read(&line.collect::<Vec<_>>(), variable) {
        Ok(Cli { command: Command::Serve(serve) }) => Ok(*serve),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    }
}

/// The same with a file.
fn with_file(text: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Serve, String> {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().display().to_string();
    serve(&[&["--config", &path], arguments].concat(), variables)
        .map_err(|error| error.replace(&path, "FILE"))
}

/// How a setting's value came about.
fn origin<'a>(serve: &'a Serve, name: &str) -> &'a Origin {
    &serve.effective.iter().find(|setting| setting.name == name).unwrap().origin
}

#[test]
fn a_flag_beats_a_variable_a_variable_the_file_the_file_the_default() {
    let flag = ["--http-port", "1"];
    let variable = [("WAGGLE_HTTP_PORT", "2")];
    let file = "http-port = 3";
    let in_file = Origin::Variable("WAGGLE_HTTP_PORT".to_owned());
    for (read, port, from) in [
        (with_file(file, &flag, &variable), 1, Some(Origin::Flag)),
        (with_file(file, &[], &variable), 2, Some(in_file)),
        (with_file(file, &[], &[("WAGGLE_HTTP_PORT", "")]), 3, None),
        (with_file(file, &[], &[]), 3, None),
        (with_file("", &[], &[]), 80, Some(Origin::Default)),
        (serve(&[], &[]), 80, Some(Origin::Default)),
    ] {
        let serve = read.unwrap();
        assert_eq!(serve.http_port, port);
        match from {
            Some(from) => assert_eq!(*origin(&serve, "http-port"), from),
            None => assert!(
                matches!(origin(&serve, "http-port"), Origin::File { line: 1, key, .. } if key == "http-port")
            ),
        }
    }
}

#[test]
fn a_list_is_replaced_as_a_whole() {
    let file = "proxy-network = [\"a\", \"b\"]";
    for (arguments, variables, networks) in [
        (&[][..], &[][..], &["a", "b"][..]),
        (&[], &[("WAGGLE_PROXY_NETWORK", "c,d")], &["c", "d"]),
        (&["--proxy-network", "e", "f", "--proxy-network", "g"], &[], &["e", "f", "g"]),
    ] {
        assert_eq!(with_file(file, arguments, variables).unwrap().proxy_network, networks);
    }
    assert!(with_file("proxy-network = []", &[], &[]).unwrap().proxy_network.is_empty());
}

#[test]
fn truth_is_said_in_each_of_the_three_places() {
    for (file, arguments, variables, hidden) in [
        ("", &[][..], &[][..], false),
        ("", &["--hide-info-headers"], &[], true),
        ("", &[], &[("WAGGLE_HIDE_INFO_HEADERS", "1")], true),
        ("hide-info-headers = true", &[], &[], true),
        ("hide-info-headers = true", &["--hide-info-headers=false"], &[], false),
        ("hide-info-headers = true", &[], &[("WAGGLE_HIDE_INFO_HEADERS", "off")], false),
        ("[Extensions.a.Config]\nHideInfoHeaders = true", &[], &[], true),
    ] {
        assert_eq!(with_file(file, arguments, variables).unwrap().hide_info_headers, hidden);
    }
}

#[test]
fn dockers_own_variable_is_another_default() {
    let own = [("DOCKER_HOST", "tcp://a:1")];
    let both = [("DOCKER_HOST", "ssh://nobody"), ("WAGGLE_DOCKER", "tcp://b:2")];
    for (read, address) in [
        (serve(&[], &[]), "unix:///var/run/docker.sock"),
        (serve(&[], &own), "tcp://a:1"),
        (serve(&[], &both), "tcp://b:2"),
        (serve(&["--docker", "tcp://c:3"], &[("DOCKER_HOST", "ssh://nobody")]), "tcp://c:3"),
        (with_file("DockerURL = \"tcp://d:4\"", &[], &own), "tcp://d:4"),
    ] {
        assert_eq!(read.unwrap().docker.to_string(), address);
    }
    assert!(
        serve(&[], &[("DOCKER_HOST", "ssh://nobody")]).unwrap_err().starts_with("DOCKER_HOST=")
    );
}

#[test]
fn a_cluster_has_one_proxy_service() {
    let care = |proxies: BTreeMap<NodeCluster, ProxyService>| {
        let line = |(cluster, proxy): (NodeCluster, ProxyService)| {
            format!("{cluster}={} {:?}", proxy.name, proxy.care)
        };
        proxies.into_iter().map(line).collect::<Vec<_>>().join(", ")
    };
    let told = "--proxy-service";
    let managed = "--manage-proxy";
    for (arguments, proxies) in [
        (&[][..], Ok("")),
        (&[told, "a,east=b"], Ok("default=a Owner, east=b Owner")),
        (&[told, "a", managed, "east=b"], Ok("default=a Owner, east=b Controller")),
        (&[told, "a", managed, "a"], Ok("default=a Controller")),
        (&[told, "a,east=c", managed, "b"], Ok("default=b Controller, east=c Owner")),
        (&[told, "east=a", told, "east=b"], Err("a and b for the proxies of the cluster east")),
    ] {
        let read = serve(arguments, &[]).unwrap().proxies();
        match (read, proxies) {
            (Ok(read), Ok(proxies)) => assert_eq!(care(read), proxies),
            (Err(error), Err(told)) => assert!(error.to_string().contains(told), "{error}"),
            (read, _) => panic!("{arguments:?}: {read:?}"),
        }
    }
}

#[test]
fn interlocks_proxy_service_is_managed_by_a_flag() {
    let file = "[Extensions.default]\nProxyServiceName = \"proxy\"";
    let serve = with_file(file, &["--manage-proxy", "proxy"], &[]).unwrap();
    let proxies = serve.proxies().unwrap();
    assert_eq!(proxies[&NodeCluster::default()].care, Care::Controller);
}

#[test]
fn a_file_is_read_by_line_and_in_any_case() {
    for (text, expected) in [
        ("HTTP-Port = 8080", Ok("8080")),
        ("\n\n[EXTENSIONS.x]\ntargetport = \"8080\"", Ok("8080")),
        ("http-port = 0x50", Ok("80")),
        ("http-port = 0", Err("FILE:1: http-port = \"0\": expected a port from 1 to 65535")),
        ("http-port = [80]", Ok("80")),
        ("http-port = [80, 81]", Err("FILE:1: http-port = \"80 81\": expected one value, no list")),
        ("\nhttp-port = {a = 1}", Err("FILE:2: http-port: expected a value, not a table")),
        (
            "http-port = ",
            Err("FILE:1: not TOML: string values must be quoted, expected literal string"),
        ),
        ("a = 1\n\n\nhttp-port = 1\nhttp-port = 2", Err("FILE:5: not TOML: duplicate key")),
        (
            "htp-port = 1",
            Err(
                "FILE:1: htp-port: no such setting; did you mean `http-port`? It belongs above all tables",
            ),
        ),
        ("config = \"x\"", Err("FILE:1: config: no such setting")),
        (
            "[[Extensions]]\nName = \"nginx\"",
            Err("FILE:1: Extensions: expected tables, such as [Extensions.default]"),
        ),
        ("Extensions.x = 1", Err("FILE:1: Extensions.x: expected a table, [Extensions.x]")),
    ] {
        let read = with_file(text, &[], &[]).map(|serve| serve.http_port.to_string());
        assert_eq!(read, expected.map(str::to_owned).map_err(str::to_owned), "{text:?}");
    }
}

#[test]
fn nobody_knows_all_of_interlocks_keys() {
    let serve = with_file("[Extensions.default]\nBanana = 1\nConfig.Fig = 2", &[], &[]).unwrap();
    let told: Vec<_> = serve.warnings.iter().filter_map(|it| it.split_once(": ")).collect();
    let told: Vec<_> = told.into_iter().map(|(_, text)| text).collect();
    let expected = [
        "Extensions.default.Banana: no such setting",
        "Extensions.default.Config.Fig: no such setting",
    ];
    assert_eq!(told, expected);
}

#[test]
fn the_longer_of_interlocks_two_times_holds() {
    for (text, time, warnings) in [
        ("ReadTimeout = 60\nSendTimeout = 90", "90s", 1),
        ("SendTimeout = 90\nReadTimeout = 60", "90s", 1),
        ("ReadTimeout = 60\nSendTimeout = \"1m\"", "60s", 0),
        ("SendTimeout = 30", "30s", 0),
        ("ReadTimeout = 0\nSendTimeout = 30", "off", 1),
    ] {
        let serve = with_file(&format!("[Extensions.a.Config]\n{text}"), &[], &[]).unwrap();
        assert_eq!(serve.limits.idle_timeout, time.parse::<Timeout>().unwrap(), "{text}");
        assert_eq!(serve.warnings.len(), warnings, "{:?}", serve.warnings);
    }
}

#[test]
fn the_limits_without_a_flag_are_the_default_ones() {
    assert_eq!(serve(&[], &[]).unwrap().limits, Limits::default());
}

#[test]
fn every_key_of_interlock_is_a_setting_that_there_is() {
    let command = Cli::command();
    let settings: BTreeSet<_> = load::settings(&command).map(load::name).collect();
    for key in KEYS {
        if let Meaning::Setting(setting, _) = key.meaning {
            assert!(settings.contains(setting), "{}: {setting}", key.name);
        }
    }
}

/// A cell of a Markdown table may not hold a bare `|`.
fn row(cells: &[String]) -> String {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', r"\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

#[test]
fn the_documentation_has_every_setting() {
    let command = Cli::command();
    let table: String = load::settings(&command)
        .map(|setting| {
            let name = load::name(setting);
            let known: Vec<_> =
                setting.get_possible_values().iter().map(|it| it.get_name().to_owned()).collect();
            let values = setting.get_value_names().unwrap_or_default().join(" ");
            let values = if known.is_empty() { values } else { known.join("|") };
            let interlocks: Vec<_> = KEYS
                .iter()
                .filter(|key| matches!(key.meaning, Meaning::Setting(to, _) if to == name))
                .map(|key| code(key.name))
                .collect();
            let help = setting.get_help().map(ToString::to_string).unwrap_or_default();
            let written = setting.get_default_values().first();
            let written = written.map(|it| code(&it.to_string_lossy()));
            let (about, default) = match (help.split_once(" [default: "), written) {
                (Some((about, default)), _) => (about, default.trim_end_matches(']').to_owned()),
                (None, written) => (help.as_str(), written.unwrap_or("none".to_owned())),
            };
            let about = about.to_owned();
            let names = [code(&format!("--{name} {values}")), code(&load::variable_of(setting))];
            row(&[names.as_slice(), &[interlocks.join(", "), default, about]].concat())
        })
        .collect();
    assert!(DOCUMENTATION.contains(&table), "docs/settings.md should have:\n{table}");
}

#[test]
fn the_documentation_has_every_key_of_interlock_without_a_setting() {
    let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
    for key in KEYS {
        let why = match key.meaning {
            Meaning::Nothing(why) => why.to_owned(),
            Meaning::Setting(..) | Meaning::Cluster => continue,
        };
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, keys)) => keys.push(code(key.name)),
            None => reasons.push((why, vec![code(key.name)])),
        }
    }
    let table: String =
        reasons.into_iter().map(|(why, keys)| row(&[keys.join(", "), why])).collect();
    assert!(DOCUMENTATION.contains(&table), "docs/settings.md should have:\n{table}");
}

proptest! {
    #[test]
    fn no_file_makes_the_reader_panic_or_lose_a_line(
        lines in proptest::collection::vec(
            prop_oneof![
                r"[a-zA-Z-]{1,12} = [0-9]{1,6}",
                proptest::sample::select(KEYS).prop_map(|key| format!("{} = \"3s\"", key.name)),
                proptest::sample::select(KEYS).prop_map(|key| format!("{} = [true, -1]", key.name)),
                r"\[Extensions\.[a-c]\]", r"\[Extensions\.[a-c]\.Config\]", r"\PC{0,30}",
            ],
            0..12,
        ),
    ) {
        let settings = load::settings(&Cli::command()).map(|it| load::name(it).to_owned()).collect();
        let reading = file::read(&lines.join("\n"), &settings);
        for remark in reading.errors.iter().chain(&reading.warnings) {
            prop_assert!(remark.line >= 1 && remark.line <= lines.len().max(1), "{remark:?}");
        }
    }
}
