//! One of several holds the Lease.

use sidetrail_injector::kube::LeaseKeeper;

use crate::api::Api;

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/sidetrail/leases/sidetrail-injector";

#[tokio::test]
async fn one_leads_until_it_gives_the_lease_back() {
    let api = Api::start().await;
    let keeper = |name| LeaseKeeper::new(api.client(), "sidetrail", "sidetrail-injector", name);
    let (mut one, mut two) = (keeper("one"), keeper("two"));
    one.step().await;
    two.step().await;
    assert!(one.leader().is() && !two.leader().is());
    one.step().await;
    two.step().await;
    assert!(one.leader().is() && !two.leader().is(), "renewed");
    let lease = api.get(LEASE).unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "one");
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 15);

    LeaseKeeper::release(&api.client(), "sidetrail", "sidetrail-injector", "two").await;
    assert_eq!(api.get(LEASE).unwrap()["spec"]["holderIdentity"], "one", "not two's to give back");
    LeaseKeeper::release(&api.client(), "sidetrail", "sidetrail-injector", "one").await;
    two.step().await;
    one.step().await;
    assert!(two.leader().is() && !one.leader().is());
    assert_eq!(api.get(LEASE).unwrap()["spec"]["leaseTransitions"], 1);
}
