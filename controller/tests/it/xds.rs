//! EDS: the state machine message by message, in both variants, and the controller's streams.

use crate::support::{metric, quiet_settings, settings, until};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::envoy::service::endpoint::v3::endpoint_discovery_service_client::EndpointDiscoveryServiceClient;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::google::rpc::Status as Detail;
use prost::Message;
use std::net::SocketAddr;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use warmpath::config::{Member, Pool, Settings};
use warmpath::run::start;
use warmpath::xds::{
    Delta, ENGINES, Kind, Publisher, Refused, Reply, Resource, Resources, Session, StateOfTheWorld, Variant,
    assignment,
};
use warmpath_core::wire::Role;

fn pool(name: &str, endpoints: &[&str]) -> Pool {
    let endpoints = endpoints.iter().map(|address| address.parse::<SocketAddr>().unwrap().into()).collect();
    Pool { name: name.to_owned(), models: vec![name.to_owned()], endpoints, ..Pool::default() }
}

fn resources(pools: &[Pool]) -> Resources {
    let publisher = Publisher::default();
    publisher.publish(pools, true);
    publisher.subscribe().borrow().clone()
}

/// `name: address address`, as a body lists them.
fn text(body: &Any) -> String {
    let assignment = ClusterLoadAssignment::decode(&*body.value).unwrap();
    let hosts = assignment.endpoints.iter().flat_map(|locality| &locality.lb_endpoints);
    let addresses = hosts.map(|host| {
        let Some(HostIdentifier::Endpoint(endpoint)) = &host.host_identifier else { panic!("{host:?}") };
        let envoy_types::pb::envoy::config::core::v3::address::Address::SocketAddress(at) =
            endpoint.address.as_ref().unwrap().address.as_ref().unwrap()
        else {
            panic!("{endpoint:?}")
        };
        format!(" {}:{:?}", at.address, at.port_specifier.as_ref().unwrap())
            .replace("PortValue(", "")
            .replace(')', "")
    });
    format!("{}:{}", assignment.cluster_name, addresses.collect::<String>())
}

fn ask(names: &[&str], nonce: &str) -> DiscoveryRequest {
    DiscoveryRequest {
        node: Some(Node { id: "envoy".to_owned(), ..Node::default() }),
        type_url: Kind::Endpoints.type_url(),
        resource_names: names.iter().map(|&name| name.to_owned()).collect(),
        response_nonce: nonce.to_owned(),
        ..DiscoveryRequest::default()
    }
}

fn refuse(names: &[&str], nonce: &str) -> DiscoveryRequest {
    let error_detail = Some(Detail { message: "no".to_owned(), ..Detail::default() });
    DiscoveryRequest { error_detail, ..ask(names, nonce) }
}

fn subscribe(names: &[&str], unsubscribe: &[&str]) -> DeltaDiscoveryRequest {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    DeltaDiscoveryRequest {
        type_url: Kind::Endpoints.type_url(),
        resource_names_subscribe: owned(names),
        resource_names_unsubscribe: owned(unsubscribe),
        ..DeltaDiscoveryRequest::default()
    }
}

fn take<V: Variant>(session: &mut Session, request: V::Request) -> Option<Reply> {
    V::take(session, request).unwrap()
}

fn sotw(session: &mut Session, resources: &Resources) -> Option<(Vec<String>, DiscoveryResponse)> {
    let response = StateOfTheWorld::respond(session, Kind::Endpoints, resources)?;
    Some((response.resources.iter().map(text).collect(), response))
}

fn delta(session: &mut Session, resources: &Resources) -> Option<(Vec<String>, DeltaDiscoveryResponse)> {
    let response = Delta::respond(session, Kind::Endpoints, resources)?;
    assert_eq!(response.removed_resources, Vec::<String>::new(), "Envoy would ignore it");
    let bodies = response.resources.iter().map(|resource| text(resource.resource.as_ref().unwrap()));
    Some((bodies.collect(), response))
}

#[test]
fn only_what_has_changed_is_sent() {
    let both = [pool("llm/a", &["10.0.0.1:80"]), pool("llm/b", &["10.0.0.2:80", "[fd00::2]:80"])];
    let mut session = Session::default();
    take::<StateOfTheWorld>(&mut session, ask(&["llm/a", "llm/b", ENGINES], ""));
    let (sent, first) = sotw(&mut session, &resources(&both)).unwrap();
    let all = "engines: 10.0.0.1:80 10.0.0.2:80 fd00::2:80";
    assert_eq!(sent, [all, "llm/a: 10.0.0.1:80", "llm/b: 10.0.0.2:80 fd00::2:80"]);
    assert!(sotw(&mut session, &resources(&both)).is_none(), "nothing has changed");

    let names = ["llm/a", "llm/b", ENGINES];
    let accepted = take::<StateOfTheWorld>(&mut session, ask(&names, &first.nonce));
    assert!(matches!(accepted, Some(Reply::Accepted(Kind::Endpoints, _))), "{accepted:?}");
    let fewer = [both[0].clone(), pool("llm/b", &["10.0.0.2:80"])];
    let (sent, _) = sotw(&mut session, &resources(&fewer)).unwrap();
    assert_eq!(sent, ["engines: 10.0.0.1:80 10.0.0.2:80", "llm/b: 10.0.0.2:80"]);
}

#[test]
fn endpoints_that_only_prefill_are_the_last_that_envoy_takes_by_itself() {
    let member =
        |address: &str, role| Member { role, ..Member::from(address.parse::<SocketAddr>().unwrap()) };
    let apart = Pool {
        endpoints: vec![member("10.0.0.1:80", Role::Prefill), member("10.0.0.2:80", Role::Decode)],
        ..pool("apart", &[])
    };
    let prefilling =
        Pool { endpoints: vec![member("10.0.0.3:80", Role::Prefill)], ..pool("prefilling", &[]) };
    let mut session = Session::default();
    take::<StateOfTheWorld>(&mut session, ask(&["apart", "prefilling", ENGINES], ""));
    let (sent, response) = sotw(&mut session, &resources(&[apart, prefilling])).unwrap();
    assert_eq!(
        sent,
        [
            "apart: 10.0.0.2:80 10.0.0.1:80",
            "engines: 10.0.0.2:80 10.0.0.1:80 10.0.0.3:80",
            "prefilling: 10.0.0.3:80"
        ]
    );
    let priorities = response.resources.iter().map(|body| {
        let assignment = ClusterLoadAssignment::decode(&*body.value).unwrap();
        assignment.endpoints.iter().map(|locality| locality.priority).collect::<Vec<_>>()
    });
    assert_eq!(priorities.collect::<Vec<_>>(), [vec![0, 1], vec![0, 1], vec![0]]);
}

#[test]
fn a_pool_that_is_gone_is_sent_as_an_empty_one() {
    let mut sessions = (Session::default(), Session::default());
    take::<StateOfTheWorld>(&mut sessions.0, ask(&["a"], ""));
    take::<Delta>(&mut sessions.1, subscribe(&["a"], &[]));
    for (pools, wanted) in [(vec![pool("a", &["10.0.0.1:80"])], "a: 10.0.0.1:80"), (vec![], "a:")] {
        assert_eq!(sotw(&mut sessions.0, &resources(&pools)).unwrap().0, [wanted]);
        assert_eq!(delta(&mut sessions.1, &resources(&pools)).unwrap().0, [wanted]);
    }
}

#[test]
fn nothing_is_sent_before_all_pools_are_known() {
    let publisher = Publisher::default();
    let mut session = Session::default();
    take::<StateOfTheWorld>(&mut session, ask(&[ENGINES, "unknown"], ""));
    let follower = publisher.subscribe();
    assert!(sotw(&mut session, &follower.borrow()).is_none(), "just started");
    publisher.publish(&[pool("a", &["10.0.0.1:80"])], false);
    assert!(sotw(&mut session, &follower.borrow()).is_none(), "some pools are known");
    publisher.publish(&[pool("a", &["10.0.0.1:80"]), pool("b", &["10.0.0.2:80"])], true);
    let (sent, _) = sotw(&mut session, &follower.borrow()).unwrap();
    assert_eq!(sent, ["engines: 10.0.0.1:80 10.0.0.2:80", "unknown:"]);
    publisher.publish(&[], false);
    assert_eq!(
        sotw(&mut session, &follower.borrow()).unwrap().0,
        ["engines:"],
        "from then on they are facts"
    );
}

#[test]
fn a_refusal_is_reported_and_not_repeated() {
    let pools = [pool("a", &["10.0.0.1:80"])];
    let mut session = Session::default();
    take::<StateOfTheWorld>(&mut session, ask(&["a"], ""));
    let (_, first) = sotw(&mut session, &resources(&pools)).unwrap();
    let Some(Reply::Rejected(rejection)) =
        take::<StateOfTheWorld>(&mut session, refuse(&["a"], &first.nonce))
    else {
        panic!("not rejected")
    };
    assert_eq!((rejection.node.as_str(), rejection.reason.as_str()), ("envoy", "no"));
    assert!(sotw(&mut session, &resources(&pools)).is_none(), "the same would be refused again");
    let (sent, second) = sotw(&mut session, &resources(&[pool("a", &["10.0.0.2:80"])])).unwrap();
    assert_eq!(sent, ["a: 10.0.0.2:80"]);
    assert_eq!(take::<StateOfTheWorld>(&mut session, ask(&["a"], &first.nonce)), None, "a stale nonce");
    assert!(take::<StateOfTheWorld>(&mut session, ask(&["a"], &second.nonce)).is_some());
}

#[test]
fn names_are_subscribed_to_and_dropped() {
    let all = resources(&[pool("a", &["10.0.0.1:80"]), pool("b", &["10.0.0.2:80"])]);
    let mut session = Session::default();
    take::<StateOfTheWorld>(&mut session, ask(&["a"], ""));
    let (_, first) = sotw(&mut session, &all).unwrap();
    take::<StateOfTheWorld>(&mut session, ask(&["a", "b"], &first.nonce));
    let (sent, second) = sotw(&mut session, &all).unwrap();
    assert_eq!(sent, ["b: 10.0.0.2:80"], "Envoy has the other");
    take::<StateOfTheWorld>(&mut session, ask(&["b"], &second.nonce));
    assert!(sotw(&mut session, &all).is_none());
    take::<StateOfTheWorld>(&mut session, ask(&["a", "b"], &second.nonce));
    assert_eq!(sotw(&mut session, &all).unwrap().0, ["a: 10.0.0.1:80"], "it had dropped that one");

    let mut session = Session::default();
    take::<Delta>(&mut session, subscribe(&["a", "b"], &[]));
    assert_eq!(delta(&mut session, &all).unwrap().0.len(), 2);
    take::<Delta>(&mut session, subscribe(&["a"], &["b"]));
    assert_eq!(delta(&mut session, &all).unwrap().0, ["a: 10.0.0.1:80"], "asked for again");
    let moved = resources(&[pool("a", &["10.0.0.1:80"]), pool("b", &["10.0.0.3:80"])]);
    assert!(delta(&mut session, &moved).is_none());
}

#[test]
fn an_envoy_that_reconnects_is_sent_what_it_lacks_also_by_another_controller() {
    let before = resources(&[pool("a", &["10.0.0.1:80"]), pool("b", &["10.0.0.2:80"])]);
    let mut session = Session::default();
    take::<Delta>(&mut session, subscribe(&["a", "b", "c"], &[]));
    let (_, response) = delta(&mut session, &before).unwrap();
    let versions = response.resources.into_iter().map(|resource| (resource.name, resource.version)).collect();

    let elsewhere = resources(&[pool("b", &["10.0.0.2:80", "10.0.0.3:80"]), pool("a", &["10.0.0.1:80"])]);
    let mut session = Session::default();
    let again =
        DeltaDiscoveryRequest { initial_resource_versions: versions, ..subscribe(&["a", "b", "c"], &[]) };
    take::<Delta>(&mut session, again);
    assert_eq!(delta(&mut session, &elsewhere).unwrap().0, ["b: 10.0.0.2:80 10.0.0.3:80"]);
}

#[test]
fn a_change_that_is_taken_back_is_none() {
    let pools = [pool("a", &["10.0.0.1:80"])];
    let publisher = Publisher::default();
    publisher.publish(&pools, true);
    let follower = publisher.subscribe();
    let mut session = Session::default();
    take::<StateOfTheWorld>(&mut session, ask(&["a"], ""));
    sotw(&mut session, &follower.borrow()).unwrap();
    publisher.publish(&[], true);
    publisher.publish(&pools, true);
    assert!(sotw(&mut session, &follower.borrow()).is_none());
}

#[test]
fn pools_that_overlap_or_are_called_engines_lose_no_endpoint() {
    let pools = [pool("a", &["10.0.0.1:80"]), pool("b", &["10.0.0.1:80"]), pool(ENGINES, &["10.0.0.3:80"])];
    let mut session = Session::default();
    take::<StateOfTheWorld>(&mut session, ask(&[ENGINES], ""));
    let (sent, _) = sotw(&mut session, &resources(&pools)).unwrap();
    assert_eq!(sent, ["engines: 10.0.0.1:80 10.0.0.3:80"]);
}

#[test]
fn a_stream_cannot_ask_for_more_than_it_may() {
    let mut session = Session::default();
    let names: Vec<String> = (0..1025).map(|name| name.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(StateOfTheWorld::take(&mut session, ask(&names, "")), Err(Refused::Names));
    assert_eq!(StateOfTheWorld::take(&mut session, ask(&names[1..], "")), Ok(None));
    assert_eq!(Delta::take(&mut Session::default(), subscribe(&[&"x".repeat(513)], &[])), Err(Refused::Name));
}

#[test]
fn other_kinds_are_sent_whole_or_not_at_all() {
    let mut all = Resources::default();
    all.complete();
    let cluster = |name: &str| {
        let name = name.to_owned();
        Resource::from(envoy_types::pb::envoy::config::cluster::v3::Cluster { name, ..Default::default() })
    };
    let ask = |kind: Kind, nonce: &str| DiscoveryRequest { type_url: kind.type_url(), ..ask(&[], nonce) };
    let mut session = Session::default();
    take::<StateOfTheWorld>(&mut session, ask(Kind::Cluster, ""));
    let empty = StateOfTheWorld::respond(&mut session, Kind::Cluster, &all).expect("Envoy waits for it");
    assert!(empty.resources.is_empty());
    all.put([cluster("a"), cluster("b")]);
    assert_eq!(StateOfTheWorld::respond(&mut session, Kind::Cluster, &all).unwrap().resources.len(), 2);
    all.put([cluster("c")]);
    assert_eq!(StateOfTheWorld::respond(&mut session, Kind::Cluster, &all).unwrap().resources.len(), 3);
    all.remove(Kind::Cluster, "a");
    assert_eq!(StateOfTheWorld::respond(&mut session, Kind::Cluster, &all).unwrap().resources.len(), 2);
    assert!(StateOfTheWorld::respond(&mut session, Kind::Cluster, &all).is_none());
    let version = all.version(Kind::Cluster);
    assert_eq!(all.put([cluster("b")]), version, "it was there");
    assert_eq!(all.put([assignment("b", []).into()]), all.version(Kind::Endpoints));
}

#[tokio::test]
async fn the_controller_serves_both_variants() {
    let running =
        start(settings(&["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()])).await.unwrap();
    let mut client =
        EndpointDiscoveryServiceClient::connect(format!("http://{}", running.grpc_addr())).await.unwrap();
    let (up, requests) = mpsc::channel(4);
    up.send(ask(&[ENGINES, "main"], "")).await.unwrap();
    let mut down = client.stream_endpoints(ReceiverStream::new(requests)).await.unwrap().into_inner();
    let response = down.message().await.unwrap().unwrap();
    let sent: Vec<String> = response.resources.iter().map(text).collect();
    assert_eq!(sent, ["engines: 127.0.0.1:1 ::1:2", "main: 127.0.0.1:1 ::1:2"]);
    up.send(refuse(&[ENGINES, "main"], &response.nonce)).await.unwrap();

    let (delta_up, requests) = mpsc::channel(4);
    delta_up.send(subscribe(&["main"], &[])).await.unwrap();
    let mut down = client.delta_endpoints(ReceiverStream::new(requests)).await.unwrap().into_inner();
    let response = down.message().await.unwrap().unwrap();
    let sent: Vec<String> =
        response.resources.iter().map(|resource| text(resource.resource.as_ref().unwrap())).collect();
    assert_eq!(sent, ["main: 127.0.0.1:1 ::1:2"]);
    let ack = DeltaDiscoveryRequest { response_nonce: response.nonce, ..subscribe(&[], &[]) };
    delta_up.send(ack).await.unwrap();

    let http = running.http_addr();
    let result = |name: &'static str| format!("eds_responses_total{{result=\"{name}\"}}");
    for (name, count) in [("accepted", 1.0), ("rejected", 1.0), ("sent", 2.0)] {
        until(name, async || (metric(http, &result(name)).await >= count).then_some(())).await;
    }
    assert!((metric(http, "eds_streams").await - 2.0).abs() < 0.1);
    drop((up, delta_up));
    until("the streams ended", async || (metric(http, "eds_streams").await < 0.1).then_some(())).await;
    running.shutdown().await;
}

#[tokio::test]
async fn a_controller_whose_names_are_not_resolved_sends_nothing() {
    let pools = "pools: [{name: main, models: [\"*\"], endpoints: [\"127.0.0.1:1\", \"absent.invalid:80\"]}]";
    let settings = Settings { pools: Settings::parse(pools).unwrap().pools, ..quiet_settings() };
    let running = start(settings).await.unwrap();
    let mut client =
        EndpointDiscoveryServiceClient::connect(format!("http://{}", running.grpc_addr())).await.unwrap();
    let (up, requests) = mpsc::channel(4);
    up.send(ask(&["main"], "")).await.unwrap();
    let mut down = client.stream_endpoints(ReceiverStream::new(requests)).await.unwrap().into_inner();
    until("the stream is open", async || {
        (metric(running.http_addr(), "eds_streams").await > 0.5).then_some(())
    })
    .await;
    running.shutdown().await;
    let ended = down.message().await.unwrap_err();
    assert_eq!(ended.message(), "the controller stops", "and nothing was sent before that");
}
