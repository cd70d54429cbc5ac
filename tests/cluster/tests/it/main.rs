//! The cluster itself, and the controller in it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers of tests fail the test, as the tests themselves do"
)]
#![allow(clippy::print_stdout, reason = "how many requests a test sent is part of its result")]

mod caches;
mod check;
mod churn;
mod controller;
mod gateway;
mod groups;
mod kserve;
mod load;
mod models;
mod pods;
mod refused;
mod release;
mod rights;
mod scaling;
mod secured;
mod sleeping;
mod waking;

use std::process::ExitCode;
use warmpath_cluster::{harness, test};

fn main() -> ExitCode {
    harness::main(
        &[
            test!(pods::a_deployment_of_engines_becomes_ready_and_reachable),
            test!(pods::a_deletion_lets_a_pod_finish_and_frees_its_name),
            test!(pods::a_crash_loop_backs_off),
            test!(pods::a_lost_node_loses_its_pods_and_others_take_over),
            test!(pods::a_service_leads_to_ready_pods_by_address_and_name),
            test!(pods::a_changed_config_map_reaches_a_running_pod),
            test!(pods::a_pod_waits_for_its_probes_and_gates),
            test!(controller::pods_that_join_and_leave_are_followed),
            test!(controller::a_pod_that_is_being_deleted_leaves_at_once),
            test!(controller::a_pool_comes_and_goes_with_its_inference_pool),
            test!(controller::the_older_forms_of_an_inference_pool_are_pools),
            test!(controller::a_selector_that_matches_nothing_is_an_empty_pool),
            test!(controller::a_pod_at_a_reused_address_is_another_endpoint),
            test!(controller::a_kind_that_comes_later_is_followed).alone(),
            test!(controller::pools_outlive_the_api_server).alone(),
            test!(gateway::the_charts_envoys_send_a_prompt_to_the_engine_that_holds_it),
            test!(release::an_upgrade_keeps_the_token_and_an_uninstall_leaves_nothing),
            test!(caches::what_engines_hold_is_known_by_the_tokenizers_that_the_chart_mounts),
            test!(churn::no_request_is_lost_while_engines_change),
            test!(churn::no_request_is_lost_with_a_node),
            test!(churn::no_request_is_lost_while_controllers_change),
            test!(churn::no_request_is_lost_without_the_api_server).alone(),
            test!(churn::no_request_is_lost_in_outages_of_a_minute).alone().long(),
            test!(churn::no_request_is_lost_while_a_hundred_engines_change).alone().long(),
            test!(models::the_charts_keys_become_engines_that_serve_scale_and_go),
            test!(models::what_is_as_it_should_be_is_not_written_again),
            test!(models::a_field_that_somebody_takes_over_stays_as_they_set_it),
            test!(models::an_object_of_somebody_else_is_left_alone),
            test!(models::an_edit_that_cannot_be_carried_out_keeps_what_runs),
            test!(models::no_request_is_lost_while_a_model_changes),
            test!(models::a_model_survives_the_api_server).alone(),
            test!(models::a_model_survives_an_outage_of_a_minute).alone().long(),
            test!(models::a_model_deleted_while_it_scales_leaves_nothing),
            test!(groups::a_replica_of_two_nodes_is_routed_to_at_its_first),
            test!(groups::each_rank_of_a_replica_of_two_nodes_is_routed_to),
            test!(waking::requests_wait_for_a_pool_that_is_scaled_to_zero),
            test!(scaling::a_model_at_zero_wakes_for_its_requests_and_goes_back),
            test!(scaling::requests_that_waited_are_spread_over_the_engines_that_wake),
            test!(scaling::no_request_is_lost_while_the_leader_dies_and_clients_leave),
            test!(scaling::an_envoy_that_drains_loses_no_held_request_and_one_that_is_killed_only_its_own),
            test!(scaling::requests_beyond_the_bound_of_held_ones_are_refused_at_once),
            test!(scaling::the_engine_with_the_warmest_cache_stays_when_a_role_shrinks),
            test!(scaling::a_role_that_somebody_else_scales_is_left_to_them),
            test!(scaling::a_model_that_does_not_wake_says_so_and_no_request_hangs),
            test!(scaling::an_engine_that_never_becomes_ready_is_named_and_left_alone).long(),
            test!(scaling::a_pool_of_nodes_that_is_full_is_said_and_costs_no_engine_and_no_request).alone(),
            test!(sleeping::engines_that_sleep_wake_for_their_requests_and_sleep_again),
            test!(sleeping::no_request_is_lost_when_the_leader_dies_while_engines_wake),
            test!(sleeping::engines_whose_sleep_failed_are_replaced_before_a_request_comes_to_them),
            test!(secured::no_request_is_lost_while_certificate_and_token_are_renewed),
            test!(secured::a_proxy_without_the_token_gets_nothing),
            test!(check::what_is_wrong_is_found_and_nothing_else),
            test!(check::the_controllers_own_pod_can_check_everything),
            test!(kserve::a_model_of_kserve_is_left_alone_and_routed_to),
            test!(refused::what_is_wrong_is_refused_at_admission_or_in_the_status),
            test!(rights::a_role_that_lacks_a_verb_is_named_in_the_log),
            test!(rights::the_charts_role_is_enough),
        ],
        |cluster| {
            Box::pin(async move {
                cluster.add_own_images()?;
                cluster.add_vllm_images("--preset llama-3.1-8b-tp1 --time-scale 20")?;
                cluster.install_inference_extension().await
            })
        },
    )
}
