//! The demo `bank_account`: money that many take out at once, and the race that a check made too early loses.
//!
//! Owns the command line and both halves. An account is a `Lock` round a balance, the same for threads and tasks.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use filch::sync::{Barrier, Lock, lock_all, lock_all_blocking};

use crate::story::{self, Halves, Story, each_task, each_thread};

pub(crate) const ABOUT: &str =
    "an account that many take money out of: check and update in one critical section, or in two";

/// Many take money out of one account at once, on threads and on tasks.
///
/// The check of the balance and its update are in one critical section, so exactly as much is paid out as there
/// was. In two, each of them guarded, the account is overdrawn: that is shown, too. At last money is moved between
/// two accounts in both directions at once.
#[derive(Debug, clap::Parser)]
#[command(name = "bank_account")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// Who takes out how much.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// What is in the account at first
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(i64).range(0..=1_000_000_000))]
    pub balance: i64,
    /// How many threads, and how many tasks, take money out
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub people: u32,
    /// How often each of them tries
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub times: u32,
    /// How much each wants every time
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    pub amount: i64,
}

impl Plan {
    /// How many withdrawals the balance is enough for, if that many are tried.
    fn granted(&self) -> i64 {
        (self.balance / self.amount).min(i64::from(self.people) * i64::from(self.times))
    }
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

/// The guides' account.
struct Account {
    balance: Lock<i64>,
}

impl Account {
    fn new(balance: i64) -> Account {
        Account { balance: Lock::new(balance) }
    }

    fn withdraw_blocking(&self, amount: i64) -> bool {
        let mut balance = self.balance.lock_blocking();
        if *balance < amount {
            return false;
        }
        // Some processing. Nobody else gets at the balance meanwhile, so what was checked stays true.
        thread::yield_now();
        *balance -= amount;
        true
    }

    async fn withdraw(&self, amount: i64) -> bool {
        let mut balance = self.balance.lock().await;
        if *balance < amount {
            return false;
        }
        // The guard may be kept across an await: the others wait, but no worker does.
        filch::yield_now().await;
        *balance -= amount;
        true
    }

    /// Each access is guarded, and yet it is wrong: the guard is given back between the check and the update.
    /// `between` is where both have made the check, so that what is rare elsewhere happens each time here.
    fn withdraw_wrongly_blocking(&self, amount: i64, between: &Barrier) -> bool {
        let enough = *self.balance.lock_blocking() >= amount;
        between.wait_blocking();
        if enough {
            *self.balance.lock_blocking() -= amount;
        }
        enough
    }

    async fn withdraw_wrongly(&self, amount: i64, between: &Barrier) -> bool {
        let enough = *self.balance.lock().await >= amount;
        between.wait().await;
        if enough {
            *self.balance.lock().await -= amount;
        }
        enough
    }

    /// The balance, when all is done.
    fn balance(&self) -> i64 {
        *self.balance.try_lock().expect("nobody uses the account any more")
    }
}

/// Takes both locks at once, whichever is named first: two transfers in opposite directions do not wait for each
/// other for ever.
fn transfer_blocking(from: &Account, to: &Account, amount: i64) {
    let [mut from, mut to] = lock_all_blocking([&from.balance, &to.balance]);
    if *from >= amount {
        *from -= amount;
        *to += amount;
    }
}

async fn transfer(from: &Account, to: &Account, amount: i64) {
    let [mut from, mut to] = lock_all([&from.balance, &to.balance]).await;
    if *from >= amount {
        *from -= amount;
        *to += amount;
    }
}

/// What two people want of an account with 100, as in the guides.
const WANTED: [i64; 2] = [50, 60];

impl Halves for Plan {
    fn about(&self) -> String {
        let Plan { balance, people, times, amount } = self;
        format!("{people} people try {times} times each to take {amount} out of an account with {balance}.")
    }

    fn threads(&self, story: &mut Story) {
        let plan = *self;
        let account = Account::new(plan.balance);
        let granted = each_thread(plan.people, |_| {
            (0..plan.times).filter(|_| account.withdraw_blocking(plan.amount)).count()
        });
        tell_withdrawals(story, &plan, &account, &granted);

        let (account, between) = (Account::new(100), Barrier::new(2));
        let wrong = each_thread(2, |who| account.withdraw_wrongly_blocking(WANTED[who as usize], &between));
        tell_race(story, &account, &wrong);

        let account = Account::new(100);
        let right = each_thread(2, |who| account.withdraw_blocking(WANTED[who as usize]));
        tell_cure(story, &account, &right);

        let accounts = [Account::new(plan.balance), Account::new(plan.balance)];
        each_thread(plan.people, |who| {
            let from = who as usize % 2;
            (0..plan.times)
                .for_each(|_| transfer_blocking(&accounts[from], &accounts[1 - from], plan.amount));
        });
        tell_transfers(story, &plan, &accounts);
    }

    async fn tasks(self, story: &mut Story) {
        let plan = self;
        let account = Arc::new(Account::new(plan.balance));
        let granted = each_task(plan.people, |_| {
            let account = account.clone();
            async move {
                let mut granted = 0;
                for _ in 0..plan.times {
                    granted += usize::from(account.withdraw(plan.amount).await);
                }
                granted
            }
        });
        let granted = granted.await;
        tell_withdrawals(story, &plan, &account, &granted);

        let shared = Arc::new((Account::new(100), Barrier::new(2)));
        let wrong = each_task(2, |who| {
            let shared = shared.clone();
            async move { shared.0.withdraw_wrongly(WANTED[who as usize], &shared.1).await }
        });
        let wrong = wrong.await;
        tell_race(story, &shared.0, &wrong);

        let account = Arc::new(Account::new(100));
        let right = each_task(2, |who| {
            let account = account.clone();
            async move { account.withdraw(WANTED[who as usize]).await }
        });
        let right = right.await;
        tell_cure(story, &account, &right);

        let accounts = Arc::new([Account::new(plan.balance), Account::new(plan.balance)]);
        let transfers = each_task(plan.people, |who| {
            let (accounts, from) = (accounts.clone(), who as usize % 2);
            async move {
                for _ in 0..plan.times {
                    transfer(&accounts[from], &accounts[1 - from], plan.amount).await;
                }
            }
        });
        transfers.await;
        tell_transfers(story, &plan, &accounts);
    }
}

fn tell_withdrawals(story: &mut Story, plan: &Plan, account: &Account, granted: &[usize]) {
    story.part("Check and update in one critical section");
    story.note(format_args!("granted to each: {granted:?}"));
    story.equal("withdrawals granted in all", granted.iter().sum::<usize>() as i64, plan.granted());
    story.equal("balance at the end", account.balance(), plan.balance - plan.granted() * plan.amount);
}

fn tell_race(story: &mut Story, account: &Account, granted: &[bool]) {
    story.part("Check and update in two: 50 and 60 are wanted of 100, and both look before either takes");
    story.equal("granted", granted, &[true, true]);
    story.equal("balance, overdrawn though each access was guarded", account.balance(), -10);
}

fn tell_cure(story: &mut Story, account: &Account, granted: &[bool]) {
    story.part("The same in one");
    let paid: i64 =
        WANTED.iter().zip(granted).filter(|(_, granted)| **granted).map(|(amount, _)| amount).sum();
    story.equal("how many of the two are granted", granted.iter().filter(|granted| **granted).count(), 1);
    story.equal("what is left and what was paid, together", account.balance() + paid, 100);
}

fn tell_transfers(story: &mut Story, plan: &Plan, accounts: &[Account; 2]) {
    story.part("Transfers in both directions at once, by `lock_all`");
    let [one, two] = accounts.each_ref().map(Account::balance);
    story.note(format_args!("balances: {one} and {two}"));
    story.equal("balances together", one + two, 2 * plan.balance);
    story.holds("neither is overdrawn", one.min(two) >= 0, one.min(two));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_money_is_made_or_lost() {
        for (balance, people, times, amount) in
            [(1_000, 10, 100, 10), (1_005, 3, 50, 10), (70, 1, 5, 10), (0, 2, 2, 1)]
        {
            story::assert_holds(Plan { balance, people, times, amount });
        }
    }
}
