//! Before a controller has named endpoints: Envoy's own policy places requests, and responses show who serves.

use crate::support::{
    Controller, chat, chosen, counted, get, pools, post, serve, status_of, step, text, vm, with_controller,
};
use crate::support::{Host, Stream, Vm, endpoints};
use std::time::Duration;
use warmpath_core::router::DESTINATION_HEADER;
use warmpath_core::wire::{Current, Health, Kind};

fn is_passed(stream: &Stream) -> bool {
    stream.reply.is_none() && !stream.request_headers.contains_key(DESTINATION_HEADER)
}

fn serve_from(vm: &Vm, prompt: &str, address: &str) {
    let mut stream = serve(vm, &chat(prompt));
    assert!(is_passed(&stream), "a cold prompt is Envoy's to place");
    stream.served_by = Some(address.to_owned());
    stream.complete();
}

#[test]
fn without_a_controller_envoy_places_requests() {
    let host = Host::default();
    let vm = vm(&host, &with_controller());
    for number in 0..3 {
        let stream = serve(&vm, &chat(&text(&format!("topic {number}"), 2000)));
        assert!(is_passed(&stream));
        stream.complete();
    }
    let models = get(&vm, "/v1/models");
    assert!(is_passed(&models));
    models.finish();
    assert_eq!(counted(&host, &[&vm], "warmpath.decision.fallback"), 4);
    assert_eq!(counted(&host, &[&vm], "warmpath.rejected.no_endpoint_known"), 0);
}

#[test]
fn what_responses_show_makes_prompts_warm_until_the_controller_comes() {
    let host = Host::default();
    let vm = vm(&host, &with_controller());
    serve_from(&vm, "hello", "10.0.0.7:8000");
    serve_from(&vm, &text("whales", 4000), "10.0.0.7:8000");
    serve_from(&vm, &text("sharks", 4000), "10.0.0.8:8000");
    for (topic, engine) in [("whales", "10.0.0.7:8000"), ("sharks", "10.0.0.8:8000")] {
        let stream = serve(&vm, &chat(&text(topic, 4000)));
        assert_eq!(chosen(&stream), engine);
        stream.complete();
    }
    let cold = serve(&vm, &chat(&text("squids", 4000)));
    assert!(is_passed(&cold));
    cold.finish();

    let mut controller = Controller::accept(&host, &[&vm]);
    controller.snapshot(vec![pools(&endpoints(2))]);
    step(&host, &[&vm]);
    let stream = serve(&vm, &chat(&text("whales", 4000)));
    assert!(endpoints(2).contains(&chosen(&stream)), "what was discovered is replaced");
    stream.finish();
}

#[test]
fn a_pool_that_the_controller_says_is_empty_has_no_endpoint() {
    let host = Host::default();
    let vm = vm(&host, &with_controller());
    let mut controller = Controller::accept(&host, &[&vm]);
    controller.snapshot(vec![pools(&[])]);
    step(&host, &[&vm]);
    let mut stream = serve(&vm, &chat("hello"));
    assert_eq!(stream.reply.take().unwrap().status, 503);
}

#[test]
fn a_busy_engine_is_used_again_when_the_controller_is_gone() {
    let host = Host::default();
    let vm = vm(&host, &with_controller());
    let names = endpoints(2);
    let mut controller = Controller::accept(&host, &[&vm]);
    let busy = |running, waiting| {
        let mut event = status_of(&names[0], Health::Healthy);
        if let Some(Kind::EngineStatus(status)) = &mut event.kind {
            (status.running, status.waiting) = (running, waiting);
        }
        event
    };
    controller.snapshot(vec![
        pools(&names),
        busy(60, 20),
        status_of(&names[1], Health::Healthy),
        Kind::Current(Current {}).into(),
    ]);
    step(&host, &[&vm]);
    let share = || {
        let streams: Vec<_> = (0..40).map(|number| serve(&vm, &chat(&format!("topic {number}")))).collect();
        let there = streams.iter().filter(|stream| chosen(stream) == names[0]).count();
        streams.into_iter().for_each(Stream::complete);
        there
    };
    assert_eq!(share(), 0);
    controller.close();
    host.set_cluster_down(true);
    for _ in 0..8 {
        host.advance(Duration::from_secs(1));
        step(&host, &[&vm]);
    }
    assert!(share() >= 10);
}

#[test]
fn scrapes_that_fail_everywhere_refuse_nobody() {
    let host = Host::default();
    let vm = vm(&host, &with_controller());
    let names = endpoints(4);
    let mut controller = Controller::accept(&host, &[&vm]);
    let mut events = vec![pools(&names)];
    events.extend(names.iter().map(|name| status_of(name, Health::Unhealthy)));
    controller.snapshot(events);
    step(&host, &[&vm]);
    host.advance(Duration::from_mins(1));
    for number in 0..20 {
        let stream = serve(&vm, &chat(&format!("topic {number}")));
        assert!(names.contains(&chosen(&stream)));
        stream.complete();
        host.advance(Duration::from_secs(11));
    }
    assert!(counted(&host, &[&vm], "warmpath.last_resort") > 0);
}

#[test]
fn a_stored_response_is_read_where_it_is_kept() {
    use warmpath_core::ids::{EndpointId, ResponseId};
    use warmpath_core::wire::Stored;
    let host = Host::default();
    let (one, two) = (vm(&host, &with_controller()), vm(&host, &with_controller()));
    let names = endpoints(8);
    let mut controller = Controller::accept(&host, &[&one, &two]);
    let stored = Stored { response: ResponseId::of("resp_1").0, endpoint: EndpointId::of(&names[5]).0 };
    controller.snapshot(vec![pools(&names), Kind::Stored(stored).into()]);
    step(&host, &[&one, &two]);
    for vm in [&one, &two] {
        for path in ["/v1/responses/resp_1", "/v1/responses/resp_1/input_items?limit=2"] {
            let stream = get(vm, path);
            assert_eq!(chosen(&stream), names[5]);
            stream.finish();
        }
        let cancel = post(vm, "/v1/responses/resp_1/cancel", "");
        assert_eq!(chosen(&cancel), names[5]);
        cancel.finish();
        let body = r#"{"model":"llama","previous_response_id":"resp_1","input":"go on"}"#;
        let next = post(vm, "/v1/responses", body);
        assert_eq!(crate::support::destinations(&next), [names[5].clone()], "no other engine can serve it");
        next.finish();
    }
}
