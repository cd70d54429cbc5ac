//! Checks of a cluster, by its API server: the kinds, the pools and their pods, the controller's rights, Deployment and Service.
//!
//! Pools are judged by the controller's own [`plan`](crate::watch::plan) of the same objects, whether or not a controller runs.

pub mod installed;
pub mod pools;
pub mod rights;

use super::chain;
use super::finding::{Check, Findings};
use super::report::{Report, Unchecked};
use crate::watch;
use installed::Installed;
use kube::Client;
use pools::Pools;
use rights::{Account, Rights};

/// The chart's label of the controller's objects.
const CONTROLLER_LABELS: &str = "app.kubernetes.io/name=warmpath,app.kubernetes.io/component=controller";

/// All checks of a cluster.
pub(super) static CHECKS: [&[&Check]; 3] = [&pools::CHECKS, &installed::CHECKS, &rights::CHECKS];

/// Checks the cluster that this runs in, or that KUBECONFIG names.
pub(super) async fn run(namespaces: &[String], report: &mut Report) {
    match watch::client().await {
        Ok((client, own)) => {
            let namespaces = if namespaces.is_empty() { vec![own] } else { namespaces.to_vec() };
            check(&client, &namespaces, report).await;
        }
        Err(error) => {
            report.unchecked.push(Unchecked { target: "cluster".to_owned(), reason: chain(&error) });
        }
    }
}

/// Checks what lies in these namespaces: pools in each of them, and the controller in one of them or in none.
pub async fn check(client: &Client, namespaces: &[String], report: &mut Report) {
    let accounts = check_installed(client, namespaces, report).await;
    for namespace in namespaces {
        let target = format!("namespace {namespace}");
        let mut findings = Findings::new(&target);
        match Pools::of(client, namespace).await {
            Ok(pools) => pools::check(&pools, &mut findings),
            Err(reason) => report.unchecked.push(Unchecked { target: target.clone(), reason }),
        }
        for account in &accounts {
            match Rights::of(client, namespace, account).await {
                Ok(rights) => rights::check(&rights, &mut findings),
                Err(reason) => report.unchecked.push(Unchecked { target: target.clone(), reason }),
            }
        }
        report.findings.extend(findings.into_vec());
    }
}

/// Checks the controller's own objects, and returns the accounts that it runs as.
async fn check_installed(client: &Client, namespaces: &[String], report: &mut Report) -> Vec<Account> {
    let mut accounts = Vec::new();
    let mut installed = Installed::default();
    let own = Account::of_this_pod(client).await;
    let mut may_list = true;
    for namespace in namespaces {
        match Installed::of(client, namespace).await {
            Ok(found) => {
                let account = |name: String| Account::Service { namespace: namespace.clone(), name };
                accounts.extend(found.accounts().into_iter().map(account));
                installed.deployments.extend(found.deployments);
                installed.services.extend(found.services);
            }
            // The controller itself may not list Deployments.
            Err(_) if own.is_some() => may_list = false,
            Err(reason) => {
                report.unchecked.push(Unchecked { target: format!("namespace {namespace}"), reason });
            }
        }
    }
    if accounts.is_empty() && !may_list {
        return own.into_iter().collect();
    }
    let mut findings = Findings::new("cluster");
    installed::check(&installed, &mut findings);
    report.findings.extend(findings.into_vec());
    accounts
}
