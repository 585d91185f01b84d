//! The table: what one label says, and what becomes of the service.

use Fate::{Rejected, Routed};

/// What becomes of a service with such labels.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    /// It is routed; these codes are told.
    Routed(&'static [&'static str]),
    /// It is not routed; these codes tell why.
    Rejected(&'static [&'static str]),
}

/// Labels of one service.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// One case for each value of a label.
fn values<V: Into<String>>(
    label: &'static str,
    fate: Fate,
    values: impl IntoIterator<Item = V>,
) -> Vec<(Labels, Fate)> {
    with(&[], label, fate, values)
}

/// The same, beside other labels.
fn with<V: Into<String>>(
    others: &[(&'static str, &str)],
    label: &'static str,
    fate: Fate,
    values: impl IntoIterator<Item = V>,
) -> Vec<(Labels, Fate)> {
    let others: Labels = others.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let case = |value: V| {
        let labels = others.iter().cloned().chain([(label, value.into())]).collect();
        (labels, fate)
    };
    values.into_iter().map(case).collect()
}

fn list(count: usize, item: impl Fn(usize) -> String, separator: &str) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(separator)
}

fn hosts() -> Vec<(Labels, Fate)> {
    let part = |length| "p".repeat(length);
    let long = [part(63), part(63), part(63), part(61)].join(".");
    let none = &["bad-host", "no-hosts"];
    [
        values("hosts", Rejected(&["no-hosts"]), ["", " ", ",", " , ,"]),
        values(
            "hosts",
            Rejected(none),
            [
                "a\0.example",
                "a\r\nx: y",
                "a\n.example",
                "a\tb",
                "a b.example",
                "\u{7f}.example",
                "%REQ(authorization)%",
                "a%.example",
                "a%2eb",
                "http://x.example",
                "x.example:8080",
                "x.example/y",
                "x.example?y",
                "user@x.example",
                "[::1]",
                "x..example",
                ".x.example",
                "x.example..",
                "*",
                "*.",
                "*.*.example",
                "x.*.example",
                "*x.example",
                "x.*",
                "＊.example",
                "~^.*$",
                "x|y",
                "x;y",
                "\u{202e}x.example",
                "a\u{5d0}.example",
                "xn--a.example",
                "xn--99999999.example",
                "\u{fffd}.example",
                "x\u{378}.example",
                "\u{200d}",
            ],
        ),
        values(
            "hosts",
            Rejected(none),
            [format!("{}.example", part(64)), format!("{long}.a"), format!("*.{long}")],
        ),
        values(
            "hosts",
            Rejected(&["value-too-long"]),
            [list(500, |n| format!("x{n}.example"), ","), "x".repeat(1 << 20)],
        ),
        values("hosts", Routed(&["bad-host"]), ["x1.example,a b", "x2.example,*,x2.example:80"]),
        values(
            "hosts",
            Routed(&["too-many-hosts"]),
            [list(65, |n| format!("x3-{n}.example"), ",")],
        ),
        values(
            "hosts",
            Routed(&[]),
            [
                "X4.Example, x4.example. ,x4.EXAMPLE,x4。example",
                "bücher5.example,xn--bcher5-3ya.example",
                "\u{430}pple.example",
                "x\u{ad}6.example",
                "*.x7.example,x7.example,y.x7.example",
                "*.x8",
                "10.9.8.7",
                "localhost",
                "_x9._tcp.example",
                "-x10-.example",
                "xn--bcher-kva.example",
            ],
        ),
        values("hosts", Routed(&[]), [long.clone(), format!("*.{}", &long[2..])]),
        values("hosts", Routed(&[]), [list(64, |n| format!("x11-{n}.example"), ",")]),
    ]
    .concat()
}

fn places() -> Vec<(Labels, Fate)> {
    [
        values(
            "port",
            Rejected(&["bad-port"]),
            [
                "",
                "0",
                "65536",
                "-1",
                "+80",
                "８０",
                "٣",
                "80/tcp",
                "80:80",
                "1e3",
                "80\r\n81",
                "0x50",
                "99999999999999999999",
                "%PORT%",
            ],
        ),
        values("port", Routed(&[]), ["1", "65535", " 8080\n", "0080"]),
        values(
            "network",
            Routed(&["unknown-network"]),
            ["", "../net", "net\r\nx", "%NET%", "NET", "net\0"],
        ),
        values("network", Routed(&["value-too-long"]), ["n".repeat(5000)]),
        values(
            "service_cluster",
            Rejected(&["bad-cluster-name"]),
            ["a b", "a|b", "a/b", "a\r\nb", "é", "a\0", "%NODE%"],
        ),
        values("service_cluster", Rejected(&["bad-cluster-name"]), ["c".repeat(65)]),
        values("service_cluster", Routed(&[]), ["", "default", "east", "-._", "http"]),
    ]
    .concat()
}

fn paths() -> Vec<(Labels, Fate)> {
    let rewrite = &[("context_root_rewrite", "true")][..];
    [
        values(
            "context_root",
            Rejected(&["bad-path"]),
            [
                "",
                "app",
                "/a b",
                "/a?b",
                "/a#b",
                "/a//b",
                "/..",
                "/./a",
                "/a/../b",
                "/%",
                "/%2",
                "/%zz",
                "/a\r\nx: y",
                "/a\0",
                "/é",
                "/a\\9",
                "/(?=x)",
                "/a|b",
                "/a{2000}",
                "/[a",
                "/^",
                "//x.example",
                "http://x.example/",
            ],
        ),
        values("context_root", Rejected(&["bad-path"]), [format!("/{}", "a".repeat(1024))]),
        with(
            rewrite,
            "context_root",
            Routed(&[]),
            [
                "/",
                "/a",
                "/a/",
                "/-._~!$&'()*+;=:@",
                "/%25REQ(authorization)%25",
                "/%CEL(request.host)%20",
                "/%0d%0a%00%2f%5c",
                "/((((",
                "/.*",
                "/$1",
                "/%2e%2e/x",
                "/caf%C3%A9",
            ],
        ),
        with(
            rewrite,
            "context_root",
            Routed(&[]),
            [
                format!("/{}", "a".repeat(1023)),
                format!("/{}", "%".repeat(341).replace('%', "%25")),
                "/a".repeat(512),
            ],
        ),
        values(
            "context_root_rewrite",
            Routed(&["bad-boolean"]),
            ["", "maybe", "１", "true\0", "%"],
        ),
        values(
            "websocket_endpoints",
            Routed(&["bad-path"]),
            ["ws", "/a b,/x", "/%", "/a\r\nx: y", "/a?b", "/é"],
        ),
        with(
            &[("context_root", "/app")],
            "websocket_endpoints",
            Routed(&["bad-path"]),
            ["/ws", "/apple"],
        ),
        values("websocket_endpoints", Routed(&["bad-path"]), [list(17, |n| format!("/{n}"), ",")]),
        values(
            "websocket_endpoints",
            Routed(&[]),
            [list(16, |n| format!("/{n}"), ","), "/,/ws,/ws/,,".to_owned()],
        ),
    ]
    .concat()
}

fn tls() -> Vec<(Labels, Fate)> {
    let secured = &[("ssl_backend", "true")][..];
    let names =
        ["", "../cert", "/run/secrets/c", "a b", "a\0", "a\r\nb", "é", "-c", "c.", "%C%", "a+b"];
    let required = &[("ssl_backend", "true"), ("ssl_backend_tls_verify", "required")][..];
    let host = list(4, |n| "n".repeat(if n < 3 { 63 } else { 61 }), ".");
    [
        values("ssl_cert", Routed(&["bad-secret-name"]), names),
        values("ssl_cert", Routed(&["bad-secret-name"]), ["c".repeat(65)]),
        values("ssl_cert", Routed(&[]), ["c", "shop.cert", "a.b-c_d"]),
        values("ssl_cert", Routed(&[]), ["c".repeat(64)]),
        with(&[("ssl_cert", "c")], "ssl_key", Routed(&["bad-secret-name"]), names),
        with(&[("ssl_cert", "c")], "ssl_key", Routed(&[]), ["c", "shop.key", "k"]),
        values("ssl_key", Routed(&["key-without-certificate"]), ["k", "../k"]),
        values("ssl_only", Routed(&["bad-boolean"]), ["perhaps", "true,false", "２"]),
        values("ssl_only", Routed(&["ssl-only-without-tls"]), ["true"]),
        values("ssl_passthrough", Routed(&["bad-boolean"]), ["tru", "\0"]),
        with(
            &[
                ("context_root", "/\r\n"),
                ("ssl_cert", "../c"),
                ("sticky_session_cookie", "a\r\nb"),
                ("waggle.backend_protocol", "h9"),
            ],
            "ssl_passthrough",
            Routed(&["label-with-passthrough"]),
            ["true"],
        ),
        values("ssl_backend", Routed(&["bad-boolean"]), ["required", "%"]),
        with(
            secured,
            "ssl_backend_tls_verify",
            Routed(&["bad-tls-verify"]),
            ["", "all", "required\0", "%"],
        ),
        with(required, "waggle.backend_ca", Routed(&["bad-secret-name"]), names),
        with(required, "waggle.backend_ca", Routed(&[]), ["ca", "c"]),
        with(
            required,
            "waggle.backend_name",
            Routed(&["bad-host"]),
            ["", "*.x.example", "a b", "a\r\nb", "%SNI%", "a\0", "x.example:443"],
        ),
        with(required, "waggle.backend_name", Routed(&["bad-host"]), [format!("{host}.a")]),
        with(required, "waggle.backend_name", Routed(&[]), [host, "10.0.0.1".to_owned()]),
        values(
            "waggle.backend_protocol",
            Routed(&["bad-backend-protocol"]),
            ["", "h3", "h2\0c", "%"],
        ),
    ]
    .concat()
}

fn redirects() -> Vec<(Labels, Fate)> {
    let to = |target: &str| format!("http://own.example,{target}");
    let hosts = list(64, |n| format!("m{n}.example"), ",");
    let all = list(64, |n| format!("http://m{n}.example,https://y/"), ";");
    [
        values(
            "redirects",
            Routed(&["bad-redirect"]),
            [
                "http://own.example",
                "own.example,x.example",
                "http://user:pw@own.example,https://x.example",
                "http://shop.test,https://x.example",
                "http://own.example/y,https://x.example",
                ",",
                "a;b;;c",
            ],
        ),
        values(
            "redirects",
            Routed(&["bad-redirect"]),
            [
                "https://user@x.example",
                "https://user:pw@x.example",
                "javascript:alert(1)",
                "//x.example",
                "/x",
                "https://",
                "https://x.example:0",
                "https://x.example:65536",
                "https://x.example:8o",
                "https://*.x.example",
                "https://*",
                r"https://x.example\@y.example",
                "https://x.example/%",
                "https://x.example/y\r\nSet-Cookie: a=b",
                "https://x.example\r\n.y",
                "https://x.example/\0",
                "https://x.example?y",
                "https://x.example#y",
                "https://x y",
                "https://%REQ(host)%/",
                "https://x.example/%REQ(host)%",
                "https://[::1]/",
                "https://x.example/../y",
                "ftp://x.example",
            ]
            .map(to),
        ),
        values(
            "redirects",
            Routed(&["bad-redirect"]),
            [to(&format!("https://x.example/{}", "y".repeat(1024)))],
        ),
        values(
            "redirects",
            Routed(&["redirect-loop"]),
            [to("http://own.example"), to("http://OWN.example:80/a")],
        ),
        values(
            "redirects",
            Routed(&[]),
            [
                "https://x.example/%25REQ(host)%25",
                "https://x.example/%CEL(request.host)%20",
                "https://x.example/%0d%0aSet-Cookie:%20a=b",
                "https://x.example:1/a/",
                "HTTPS://BÜCHER.example:443/-._~!$&'()*+,=:@",
                "https://10.0.0.1",
            ]
            .map(to),
        ),
        with(&[("hosts", &hosts)], "redirects", Routed(&[]), [all]),
        values("redirects", Routed(&["value-too-long"]), ["x".repeat(4097)]),
    ]
    .concat()
}

fn pools() -> Vec<(Labels, Fate)> {
    let fails = &[("max_fails", "1")][..];
    [
        values(
            "sticky_session_cookie",
            Routed(&["bad-cookie-name"]),
            [
                "",
                "a b",
                "a=b",
                "a;b",
                "a,b",
                "a\"b",
                "a\0",
                "a\r\nSet-Cookie: b",
                "é",
                "%REQ(x)%",
                "a/b",
                "a@b",
            ],
        ),
        values("sticky_session_cookie", Routed(&["bad-cookie-name"]), ["c".repeat(65)]),
        values(
            "sticky_session_cookie",
            Routed(&[]),
            ["%", "a%25%%", "__Host-a", "!#$%&'*+-.^_`|~", "host"],
        ),
        values("sticky_session_cookie", Routed(&[]), ["c".repeat(64)]),
        values("ip_hash", Routed(&["bad-boolean"]), ["2", "", "yes!"]),
        values("ip_hash", Routed(&[]), ["yes"]),
        values(
            "backend_mode",
            Routed(&["bad-backend-mode"]),
            ["", "VIP", "vip\0", "task,vip", "%"],
        ),
        values("backend_mode", Routed(&[]), ["vip"]),
        with(
            &[("backend_mode", "vip")],
            "sticky_session_cookie",
            Routed(&["sticky-with-vip"]),
            ["SID"],
        ),
        values("default_backend", Routed(&["bad-boolean"]), ["oui", "*"]),
        values(
            "max_fails",
            Routed(&["bad-max-fails"]),
            [
                "",
                "-1",
                "+1",
                "1e9",
                "3.5",
                "٣",
                "0x10",
                "1000001",
                "4294967296",
                "99999999999999999999",
                "%",
            ],
        ),
        values("max_fails", Routed(&[]), ["0", "1", "1000000"]),
        values("fail_timeout", Routed(&["fail-timeout-alone"]), ["10s"]),
        with(
            fails,
            "fail_timeout",
            Routed(&["bad-duration"]),
            [
                "",
                "0",
                "0s",
                "-1s",
                "1ns",
                "999us",
                "25h",
                "86401",
                "1e9s",
                "NaN",
                "inf",
                "٣s",
                "soon",
                "1s\0",
                "99999999999999999999s",
                "99999999999999999999",
                "18446744073709551615s 18446744073709551615s",
            ],
        ),
        with(fails, "fail_timeout", Routed(&[]), ["1ms", "24h", "86400", "1s 1ns"]),
    ]
    .concat()
}

fn keys() -> Vec<(Labels, Fate)> {
    ["host", "Hosts", "", "\r\nx: y", "%REQ(x)%", "hosts\0", "x|y"]
        .into_iter()
        .flat_map(|key| {
            values(key, Routed(&["unknown-label"]), ["x".to_owned(), "\r\n%".repeat(1 << 18)])
        })
        .collect()
}

/// A service whose labels are the matter.
#[derive(Debug)]
pub(crate) struct Case {
    /// Its name.
    pub(crate) name: String,
    /// Its labels; a host of its own and a port are among them. They go without Interlock's prefix.
    pub(crate) labels: Labels,
    /// What becomes of it.
    pub(crate) fate: Fate,
}

/// The whole table. In it, `own.example` stands for the host of a service that names no other.
pub(crate) fn cases() -> impl Iterator<Item = Case> {
    let all =
        [hosts(), places(), paths(), tls(), redirects(), pools(), keys()].into_iter().flatten();
    all.enumerate().map(|(number, (mut labels, fate))| {
        let name = format!("bad-{number}");
        for (_, value) in &mut labels {
            let upper = name.to_ascii_uppercase();
            *value = value.replace("own.example", &format!("{name}.example"));
            *value = value.replace("OWN.example", &format!("{upper}.example"));
        }
        for (label, good) in [("hosts", format!("{name}.example")), ("port", "80".to_owned())] {
            if !labels.iter().any(|(name, _)| *name == label) {
                labels.push((label, good));
            }
        }
        Case { name, labels, fate }
    })
}
