//! Services that ask for one host in ways that exclude each other.

use super::assert_accepted;
use super::soup::holds_together;
use crate::world::{Swarm, told};

const PORT: (&str, &str) = ("port", "80");
const PASSED: (&str, &str) = ("ssl_passthrough", "true");
const ANY: (&str, &str) = ("default_backend", "true");

#[test]
fn services_at_odds_hold_together_and_are_accepted() {
    let meetings: &[&[&[(&str, &str)]]] = &[
        // A wildcard's certificate, and hosts below it that do otherwise.
        &[
            &[("hosts", "*.example"), PORT, ("ssl_cert", "wild")],
            &[("hosts", "a.example,*.b.example"), PORT, PASSED],
            &[("hosts", "c.example"), PORT, ("ssl_cert", "c")],
            &[("hosts", "d.example"), PORT],
        ],
        // One certificate with several keys, and one of a name that is another's two.
        &[
            &[("hosts", "a.example"), PORT, ("ssl_cert", "c")],
            &[("hosts", "b.example"), PORT, ("ssl_cert", "c"), ("ssl_key", "c")],
            &[("hosts", "c.example"), PORT, ("ssl_cert", "c"), ("ssl_key", "k")],
            &[("hosts", "d.example"), PORT, ("ssl_cert", "k"), ("ssl_key", "c")],
        ],
        // All that a default backend can do, beside wildcards.
        &[
            &[ANY, PORT, PASSED, ("ssl_only", "true"), ("hosts", "*.example")],
            &[("hosts", "*.a.example"), PORT, ("ssl_cert", "c")],
        ],
        &[
            &[ANY, PORT, ("ssl_cert", "any"), ("ssl_only", "true"), ("context_root", "/app")],
            &[ANY, PORT, ("context_root", "/app/x"), ("context_root_rewrite", "true")],
            &[("hosts", "a.example"), PORT, ("ssl_cert", "any")],
            &[("hosts", "*.a.example"), PORT, PASSED],
        ],
        // One host: passed through, terminated, redirected, over TLS to its tasks.
        &[
            &[("hosts", "a.example"), PORT, ("ssl_backend", "true"), ("ip_hash", "true")],
            &[("hosts", "A.example."), PORT, PASSED, ("ssl_only", "true")],
            &[("hosts", "a.example"), PORT, ("ssl_cert", "c"), ("sticky_session_cookie", "S")],
            &[("hosts", "a.example"), PORT, ("redirects", "http://a.example,https://a.example")],
            &[("hosts", "a.example"), PORT, ("waggle.backend_protocol", "h2"), ("max_fails", "1")],
        ],
        &[
            &[
                ("hosts", "a.example"),
                PORT,
                PASSED,
                ("redirects", "https://a.example,http://b.example"),
            ],
            &[("hosts", "a.example"), PORT, ("ssl_backend", "true"), ("backend_mode", "vip")],
        ],
        // Long-lived paths across the context roots of others.
        &[
            &[("hosts", "a.example"), PORT, ("websocket_endpoints", "/,/app,/app/x,/app/x/y")],
            &[
                ("hosts", "a.example"),
                PORT,
                ("context_root", "/app"),
                ("websocket_endpoints", "/app/x"),
            ],
            &[
                ("hosts", "a.example"),
                PORT,
                ("context_root", "/app/x"),
                ("context_root_rewrite", "1"),
            ],
        ],
        // One host in three node clusters.
        &[
            &[("hosts", "a.example"), PORT, ("ssl_cert", "c")],
            &[("hosts", "a.example"), PORT, PASSED, ("service_cluster", "east")],
            &[("hosts", "a.example"), PORT, ("ssl_cert", "c"), ("service_cluster", "http")],
        ],
    ];
    for services in meetings {
        let forwards = services.iter().enumerate();
        let backwards = services.iter().rev().enumerate();
        for order in [forwards.collect::<Vec<_>>(), backwards.collect()] {
            let add = |swarm: Swarm, (n, labels): &(usize, &&[_])| {
                swarm.service(&format!("s{n}"), labels)
            };
            let turn = order.iter().fold(Swarm::default(), add).turn();
            for resources in told(&turn).values() {
                holds_together(resources).unwrap();
            }
            assert_accepted(&turn);
        }
    }
}
