//! `network`: the network whose addresses become endpoints.

use super::fix::{Edit, quoted};
use super::problem::shown;
use super::reader::{Fault, Instead, Reader, Said, key};
use super::{Care, Code, Label, NodeCluster, ProxyService, STACK, Severity, Surroundings};
use crate::swarm::{Network, Purpose};

pub(super) const LABEL: Label = Label {
    name: "network",
    kind: "name or ID of a network",
    default: "the only network of the service",
    about: "The network on which the proxy reaches the service, which must be attached to it. The \
            short name of a stack's network (`net` for `stack_net`) is accepted. Without the \
            label, a service on several networks uses one that the proxy is on \
            (`--proxy-network`, `--proxy-service`), else the first by name, and gets a warning.",
};

pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    surroundings: Surroundings<'a>,
    cluster: &NodeCluster,
) -> Option<&'a Network> {
    let attached = attached(reader, surroundings);
    let proxy = surroundings.proxies.get(cluster);
    let is_on = |network: &Network| match proxy {
        Some(proxy) => proxy.is_on(&network.id),
        None => is_told(network, surroundings),
    };
    // The proxy's networks come first: `false` sorts before `true`.
    let default = attached.iter().copied().min_by_key(|network| !is_on(network));
    let Some(default) = default else {
        tell_no_network(reader);
        return None;
    };
    let choices = choices(&attached);
    let update = reader.update(&[Edit::Set(LABEL.name, &default.name)]);
    let stack = reader.service.labels.get(STACK);
    let instead = || Instead::default(format!("`{}` is used", shown(&default.name)));
    let said = reader.parse(&LABEL, instead, |value| {
        find(value, &attached, stack).ok_or_else(|| Fault {
            code: Code::UnknownNetwork,
            message: format!("the service is attached to no such network, only to {choices}"),
            fix: update.clone(),
        })
    });
    let chosen = match said {
        Said::Value(network) => network,
        Said::Nonsense => default,
        Said::Nothing => {
            if attached.len() > 1 {
                let message = format!(
                    "the service is attached to several networks ({choices}) and names none; `{}` \
                     is used",
                    shown(&default.name)
                );
                let at = (&*key(&LABEL), None);
                reader.tell(Code::AmbiguousNetwork, Severity::Warning, at, message, update);
            }
            default
        }
    };
    match proxy.map(|proxy| proxy.service) {
        _ if is_on(chosen) => {}
        Some(ProxyService { care: Care::Controller, .. }) => {}
        Some(ProxyService { care: Care::Owner, name }) => {
            let fix = attach(&chosen.name, name.as_str());
            tell_without_proxy(reader, chosen, fix);
        }
        None if surroundings.proxy_networks.is_empty() => {}
        None => {
            let fix = format!(
                "{} (PROXY: the proxy's service), and start the controller with --proxy-network {} too",
                attach(&chosen.name, "PROXY"),
                quoted(&chosen.name),
            );
            tell_without_proxy(reader, chosen, fix);
        }
    }
    Some(chosen)
}

/// The networks that may be chosen, by name.
fn attached<'a>(reader: &Reader<'a>, surroundings: Surroundings<'a>) -> Vec<&'a Network> {
    let known = reader.service.networks.iter().filter_map(|id| surroundings.networks.get(id));
    let mut attached: Vec<_> = known.filter(|network| network.purpose == Purpose::Tasks).collect();
    attached.sort_by_key(|network| (&network.name, &network.id));
    attached.dedup();
    attached
}

/// Whether somebody told that the proxy is on a network.
fn is_told(network: &Network, surroundings: Surroundings<'_>) -> bool {
    surroundings.proxy_networks.contains(&network.name)
        || surroundings.proxy_networks.contains(network.id.as_str())
}

/// A network by its ID, its name, or its name within the service's stack, in this order.
fn find<'a>(value: &str, attached: &[&'a Network], stack: Option<&String>) -> Option<&'a Network> {
    let in_stack = stack.map(|stack| format!("{stack}_{value}"));
    let by = |wanted: &dyn Fn(&Network) -> bool| attached.iter().copied().find(|net| wanted(net));
    by(&|network| network.id.as_str() == value)
        .or_else(|| by(&|network| network.name == value))
        .or_else(|| by(&|network| Some(&network.name) == in_stack.as_ref()))
}

fn choices(attached: &[&Network]) -> String {
    let names: Vec<_> = attached.iter().map(|net| format!("`{}`", shown(&net.name))).collect();
    names.join(", ")
}

fn tell_no_network(reader: &mut Reader<'_>) {
    let message = "the service is attached to no overlay network; it is not routed";
    let fix = format!(
        "{} (NETWORK: one that the proxy is on)",
        attach("NETWORK", reader.service.name.as_str())
    );
    reader.tell(Code::NoNetwork, Severity::Error, (&key(&LABEL), None), message, fix);
}

fn tell_without_proxy(reader: &mut Reader<'_>, network: &Network, fix: String) {
    let message = format!(
        "the proxy is not on network `{}`; the service is routed there all the same, and its \
         requests will fail",
        shown(&network.name)
    );
    let at = (&*key(&LABEL), None);
    reader.tell(Code::NetworkWithoutProxy, Severity::Error, at, message, fix);
}

/// The command that attaches a service to a network.
fn attach(network: &str, service: &str) -> String {
    format!("docker service update --network-add {} {}", quoted(network), quoted(service))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::testing::{Swarm, a_service, a_swarm};

    /// A swarm with networks `shop_back`, `shop_front` and `mesh`, and a service of stack `shop` on
    /// the first two.
    fn shop() -> Swarm {
        a_swarm().network("shop_back").network("shop_front").network("mesh")
    }

    fn chosen(swarm: &Swarm, label: Option<&str>) -> (String, Vec<Code>) {
        let mut web = a_service("web").serving("a.example").on(&["shop_front", "shop_back"]);
        web.labels.insert(STACK.to_owned(), "shop".to_owned());
        if let Some(value) = label {
            web = web.label("network", value);
        }
        let reading = swarm.read(&web).unwrap();
        let codes = reading.problems.iter().map(|problem| problem.code).collect();
        (reading.intent.unwrap().network.as_str().to_owned(), codes)
    }

    #[test]
    fn a_network_is_named_by_name_id_or_short_name() {
        for value in ["shop_front", "id-shop_front", "front"] {
            let expected = ("id-shop_front".to_owned(), vec![]);
            assert_eq!(chosen(&shop(), Some(value)), expected, "{value}");
        }
    }

    #[test]
    fn an_unknown_network_is_told_with_the_choices_and_the_default_holds() {
        for value in ["mesh", "nowhere", "", "SHOP_FRONT"] {
            let expected = ("id-shop_back".to_owned(), vec![Code::UnknownNetwork]);
            assert_eq!(chosen(&shop(), Some(value)), expected, "{value}");
        }
        let web = a_service("web").serving("a.example").on(&["mesh"]).label("network", "nowhere");
        assert_eq!(
            shop().read(&web).unwrap().problems[0].message,
            "the service is attached to no such network, only to `mesh`; `mesh` is used"
        );
    }

    #[test]
    fn several_networks_prefer_the_proxys_then_the_first_by_name() {
        let ambiguous = vec![Code::AmbiguousNetwork];
        assert_eq!(chosen(&shop(), None), ("id-shop_back".to_owned(), ambiguous.clone()));
        for told in ["shop_front", "id-shop_front"] {
            let swarm = shop().proxy_on(told);
            assert_eq!(chosen(&swarm, None), ("id-shop_front".to_owned(), ambiguous.clone()));
        }
    }

    #[test]
    fn a_network_that_the_proxy_is_not_on_is_told() {
        let expected = ("id-shop_back".to_owned(), vec![Code::NetworkWithoutProxy]);
        assert_eq!(chosen(&shop().proxy_on("shop_front"), Some("back")), expected);
    }

    #[test]
    fn where_the_proxys_service_is_known_its_networks_count() {
        let owned = shop().proxy_on("nowhere").proxy("envoy", Care::Owner);
        let web = a_service("web").serving("a.example").on(&["mesh"]);
        let problems = owned.read(&web).unwrap().problems;
        assert_eq!(problems[0].code, Code::NetworkWithoutProxy);
        assert_eq!(problems[0].fix, "docker service update --network-add mesh envoy");
        let managed = shop().proxy("envoy", Care::Controller);
        assert_eq!(managed.read(&web).unwrap().problems, []);
        let ambiguous = vec![Code::AmbiguousNetwork];
        let on_front = owned.proxy_attached("shop_front");
        assert_eq!(chosen(&on_front, None), ("id-shop_front".to_owned(), ambiguous));
    }

    #[test]
    fn a_service_without_a_network_is_rejected() {
        for networks in [&[][..], &["ingress"], &["unheard-of"]] {
            let web = a_service("web").serving("a.example").on(networks);
            let reading = shop().ingress("ingress").read(&web).unwrap();
            assert_eq!(reading.intent, None, "{networks:?}");
            assert_eq!(reading.problems[0].code, Code::NoNetwork, "{networks:?}");
        }
    }
}
