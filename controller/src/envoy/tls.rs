//! TLS: certificates by the names of their files, and how the two sides use them.
//!
//! Certificates are files of secrets that are mounted into the proxy. Envoy reads them by SDS, so that
//! one that is missing or broken harms only the connections that need it. No key passes through the
//! controller.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use envoy_types::util::pack_any;

use super::chain::{Chain, End, SEPARATOR, certificate_name};
use super::limits::TlsVersions;
use super::{Kind, Limits, Resource, over_ads, seconds};
use crate::labels::{Authority, Certificate, HostPattern, Transport, Verify};
use crate::routing::Routes;

/// The authorities that the system of Envoy's image believes.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

const TLS: &str = "envoy.transport_sockets.tls";

/// The certificates of the chains, and the authorities of the pools.
pub(super) fn secrets(routes: &Routes, chains: &[Chain<'_>]) -> Vec<Resource> {
    let certificates = chains.iter().filter_map(|chain| match chain.end {
        End::Here(certificate) => Some((certificate_name(certificate), pair(certificate))),
        End::InTask(_) => None,
    });
    let authorities = routes.pools.values().filter_map(|pool| match &pool.options.transport {
        Transport::Tls { verify: Verify::Required(authority), .. } => {
            Some((authority_name(authority), trust(authority)))
        }
        _ => None,
    });
    let secrets: BTreeMap<_, _> = certificates.chain(authorities).collect();
    let secrets = secrets.into_iter().map(|(name, kind)| {
        let secret = tls::Secret { name: name.clone(), r#type: Some(kind) };
        Resource::new(Kind::Secret, &name, &secret)
    });
    secrets.collect()
}

fn pair(certificate: &Certificate) -> tls::secret::Type {
    tls::secret::Type::TlsCertificate(tls::TlsCertificate {
        certificate_chain: Some(file(&certificate.chain.path)),
        private_key: Some(file(&certificate.key.path)),
        ..Default::default()
    })
}

fn trust(authority: &Authority) -> tls::secret::Type {
    let path = match authority {
        Authority::System => SYSTEM_AUTHORITIES,
        Authority::Secret(file) => &file.path,
    };
    tls::secret::Type::ValidationContext(tls::CertificateValidationContext {
        trusted_ca: Some(file(path)),
        ..Default::default()
    })
}

/// No certificate has such a name: secrets have no slash in theirs.
const AUTHORITY: &str = "authority/";

fn authority_name(authority: &Authority) -> String {
    match authority {
        Authority::System => AUTHORITY.to_owned(),
        Authority::Secret(file) => format!("{AUTHORITY}{}", file.name),
    }
}

/// The names of the Docker secrets that Envoy reads for a resource of [`Kind::Secret`].
pub fn secrets_of(resource: &str) -> impl Iterator<Item = &str> {
    resource.strip_prefix(AUTHORITY).unwrap_or(resource).split(SEPARATOR)
}

fn file(path: &str) -> core::DataSource {
    core::DataSource {
        specifier: Some(core::data_source::Specifier::Filename(path.to_owned())),
        ..Default::default()
    }
}

/// A file that is not there shall not hold up a listener or a cluster for long.
fn secret(name: String) -> tls::SdsSecretConfig {
    let sds = core::ConfigSource { initial_fetch_timeout: Some(seconds(1)), ..over_ads() };
    tls::SdsSecretConfig { name, sds_config: Some(sds) }
}

/// The proxy's side of a client's connection.
pub(super) fn downstream(certificate: &Certificate, limits: &Limits) -> core::TransportSocket {
    use tls::tls_parameters::TlsProtocol;
    let (oldest, newest) = match limits.tls_versions {
        TlsVersions::Only12 => (TlsProtocol::TlSv12, TlsProtocol::TlSv12),
        TlsVersions::Only13 => (TlsProtocol::TlSv13, TlsProtocol::TlSv13),
        TlsVersions::Both => (TlsProtocol::TlSv12, TlsProtocol::TlSv13),
    };
    socket(pack_any(tls::DownstreamTlsContext {
        common_tls_context: Some(tls::CommonTlsContext {
            tls_params: Some(tls::TlsParameters {
                tls_minimum_protocol_version: oldest.into(),
                tls_maximum_protocol_version: newest.into(),
                cipher_suites: limits.tls_ciphers.iter().map(|it| it.as_str().to_owned()).collect(),
                ..Default::default()
            }),
            alpn_protocols: ["h2", "http/1.1"].map(String::from).into(),
            tls_certificate_sds_secret_configs: vec![secret(certificate_name(certificate))],
            ..Default::default()
        }),
        ..Default::default()
    }))
}

/// The proxy's side of a connection to a task.
pub(super) fn upstream(
    name: Option<&HostPattern>,
    verify: &Verify,
    alpn: &[&str],
) -> core::TransportSocket {
    use tls::common_tls_context::{CombinedCertificateValidationContext, ValidationContextType};
    use tls::tls_parameters::TlsProtocol;
    let validation = match verify {
        Verify::Required(authority) => Some(ValidationContextType::CombinedValidationContext(
            CombinedCertificateValidationContext {
                default_validation_context: Some(tls::CertificateValidationContext {
                    match_typed_subject_alt_names: name.map(has_name).into_iter().collect(),
                    ..Default::default()
                }),
                validation_context_sds_secret_config: Some(secret(authority_name(authority))),
                ..Default::default()
            },
        )),
        Verify::None | Verify::Impossible => None,
    };
    socket(pack_any(tls::UpstreamTlsContext {
        common_tls_context: Some(tls::CommonTlsContext {
            tls_params: Some(tls::TlsParameters {
                tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
                ..Default::default()
            }),
            alpn_protocols: alpn.iter().copied().map(String::from).collect(),
            validation_context_type: validation,
            ..Default::default()
        }),
        sni: name.map(ToString::to_string).unwrap_or_default(),
        ..Default::default()
    }))
}

fn has_name(name: &HostPattern) -> tls::SubjectAltNameMatcher {
    tls::SubjectAltNameMatcher {
        san_type: tls::subject_alt_name_matcher::SanType::Dns.into(),
        matcher: Some(StringMatcher {
            match_pattern: Some(MatchPattern::Exact(name.to_string())),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn socket(context: envoy_types::pb::google::protobuf::Any) -> core::TransportSocket {
    core::TransportSocket {
        name: TLS.to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(context)),
    }
}
