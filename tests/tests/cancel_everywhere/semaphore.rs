//! `Semaphore`: each permit is free again in the end, and everybody in line gets what he waits for.

use std::sync::Arc;

use filch::sync::{Notify, Semaphore};
use filch::testing::Trial;

use crate::turn;

operations! {
    acquire: "Semaphore::acquire" => async |trial| {
        let semaphore = Semaphore::new(3);
        in_line(trial, &semaphore, async { drop(semaphore.acquire().await.unwrap()) }).await;
    };
    acquire_fair: "Semaphore::acquire" => async |trial| {
        let semaphore = Semaphore::fair(3);
        in_line(trial, &semaphore, async { drop(semaphore.acquire().await.unwrap()) }).await;
    };
    acquire_many: "Semaphore::acquire_many" => async |trial| {
        let semaphore = Semaphore::new(3);
        in_line(trial, &semaphore, async { drop(semaphore.acquire_many(3).await.unwrap()) }).await;
    };
    acquire_many_fair: "Semaphore::acquire_many" => async |trial| {
        let semaphore = Semaphore::fair(3);
        in_line(trial, &semaphore, async { drop(semaphore.acquire_many(3).await.unwrap()) }).await;
    };
    acquire_owned: "Semaphore::acquire_owned" => async |trial| {
        let semaphore = Arc::new(Semaphore::new(3));
        in_line(trial, &semaphore, async { drop(semaphore.clone().acquire_owned().await.unwrap()) }).await;
        assert_eq!(Arc::strong_count(&semaphore), 1);
    };
    acquire_many_owned: "Semaphore::acquire_many_owned" => async |trial| {
        let semaphore = Arc::new(Semaphore::fair(3));
        in_line(trial, &semaphore, async { drop(semaphore.clone().acquire_many_owned(2).await.unwrap()) }).await;
        assert_eq!(Arc::strong_count(&semaphore), 1);
    };
    acquire_for_the_next: "Semaphore::acquire" => async |trial| {
        let semaphore = Semaphore::new(1);
        at_once(trial, &semaphore, 1, async { drop(semaphore.acquire().await.unwrap()) }).await;
    };
    acquire_many_for_the_next: "Semaphore::acquire_many" => async |trial| {
        let semaphore = Semaphore::new(3);
        at_once(trial, &semaphore, 3, async { drop(semaphore.acquire_many(3).await.unwrap()) }).await;
    };
    acquire_owned_for_the_next: "Semaphore::acquire_owned" => async |trial| {
        let semaphore = Arc::new(Semaphore::fair(1));
        at_once(trial, &semaphore, 1, async { drop(semaphore.clone().acquire_owned().await.unwrap()) }).await;
    };
    acquire_many_owned_for_the_next: "Semaphore::acquire_many_owned" => async |trial| {
        let semaphore = Arc::new(Semaphore::new(3));
        at_once(trial, &semaphore, 2, async { drop(semaphore.clone().acquire_many_owned(2).await.unwrap()) }).await;
    };
    what_is_granted_and_not_taken_is_for_the_next: "Semaphore::acquire" => async |trial| {
        let semaphore = Semaphore::fair(1);
        let held = semaphore.try_acquire().unwrap();
        let permit = trial.beside(async { drop(held) }).run(semaphore.acquire()).await;
        assert_eq!(permit.is_none(), semaphore.try_acquire().is_ok());
    };
    a_big_one_that_leaves_lets_the_small_ones_through: "Semaphore::acquire_many" => async |trial| {
        let (semaphore, through) = (Semaphore::fair(2), Notify::new());
        let held = semaphore.try_acquire().unwrap();
        let small = async {
            drop(semaphore.acquire().await.unwrap());
            through.notify_one();
        };
        // Unless the big one is out of the way, the small one gets nothing before this one lets go.
        let holds = async {
            turn().await;
            drop(held);
            through.notified().await;
        };
        let big = async { drop(semaphore.acquire_many(2).await.unwrap()) };
        trial.beside(small).beside(holds).run(big).await;
        assert_eq!(semaphore.available_permits(), 2);
    };
    closed_meanwhile: "Semaphore::acquire", "Semaphore::acquire_many" => async |trial| {
        let semaphore = Semaphore::new(0);
        let closes = async {
            turn().await;
            semaphore.close();
        };
        let other = async { assert!(semaphore.acquire_many(2).await.is_err()) };
        let outcome = trial.ahead(other).beside(closes).run(semaphore.acquire()).await;
        assert!(outcome.is_none_or(|permit| permit.is_err()));
    };
}

/// All three permits are out, one is wanted by somebody ahead, and two by somebody behind; they come back one by one.
async fn in_line(trial: Trial, semaphore: &Semaphore, subject: impl Future<Output = ()>) {
    let mut held = semaphore.try_acquire_many(3).unwrap();
    let ahead = async {
        let permit = semaphore.acquire().await.unwrap();
        turn().await;
        drop(permit);
    };
    let behind = async {
        let permits = semaphore.acquire_many(2).await.unwrap();
        turn().await;
        drop(permits);
    };
    let gives = async {
        while held.num_permits() > 0 {
            drop(held.split(1));
            turn().await;
        }
    };
    trial.ahead(ahead).beside(behind).beside(gives).run(subject).await;
    assert_eq!(semaphore.available_permits(), 3);
    assert!(format!("{semaphore:?}").contains("waiting: 0"), "{semaphore:?}");
}

/// All permits come back in one piece and no other ever does; two more wait for them.
async fn at_once(trial: Trial, semaphore: &Semaphore, need: u32, subject: impl Future<Output = ()>) {
    let all = semaphore.available_permits();
    let held = semaphore.try_acquire_many(u32::try_from(all).unwrap()).unwrap();
    let other = async || drop(semaphore.acquire_many(need).await.unwrap());
    let gives = async {
        turn().await;
        drop(held);
    };
    trial.beside(other()).beside(other()).beside(gives).run(subject).await;
    assert_eq!(semaphore.available_permits(), all);
}
