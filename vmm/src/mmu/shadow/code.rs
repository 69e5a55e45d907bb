//! The guest kernel's code in memory: replaced where it would go wrong in ring 3 without a trap, as
//! it was written where it is written again.
//!
//! A page is *scanned* when the kernel first executes in it ([`Outcome::Scan`]), and plain memory
//! again when it is written to ([`Outcome::Code`]).
//!
//! [`Outcome::Scan`]: gnomon_shadow::tables::Outcome::Scan
//! [`Outcome::Code`]: gnomon_shadow::tables::Outcome::Code

use gnomon_shadow::patch::{BEYOND, Site, TRAP, overhang, scan, scan_page};
use gnomon_shadow::tables::entry::PAGE;
use gnomon_shadow::tables::walk::{Access, Kind, walk};

use super::world::World;

impl World {
    /// Replaces the instructions in `len` bytes of code at `gpa` that would go wrong in ring 3
    /// without a trap.
    pub fn patch(&mut self, gpa: u64, len: u64) {
        // What lies behind the code on its last page is executable along with it.
        let end = (gpa + len).next_multiple_of(PAGE);
        let mut code = vec![0; (end - gpa) as usize];
        if !self.ram.load(gpa, &mut code) {
            return;
        }
        self.replace(scan(&code, gpa));
        self.scanned(gpa, end);
    }

    /// As [`Self::patch`], for code whose sensitive instructions are known: the gpa of each, and
    /// its length.
    pub fn patch_known(&mut self, gpa: u64, len: u64, sensitive: &[(u64, u8)]) {
        let site = |&(va, len): &(u64, u8)| {
            let mut original = vec![0; usize::from(len)];
            let loaded = self.ram.load(va, &mut original);
            loaded.then_some(Site { va, original })
        };
        let here = |&&(va, _): &&(u64, u8)| (gpa..gpa + len).contains(&va);
        let sites = sensitive.iter().filter(here).filter_map(site).collect();
        self.replace(sites);
        // Only whole pages: what lies behind the code has not been looked at.
        self.scanned(gpa, (gpa + len) & !(PAGE - 1));
    }

    /// The pages that lie within `start..end` have been scanned.
    fn scanned(&mut self, start: u64, end: u64) {
        for page in (start.next_multiple_of(PAGE)..end).step_by(PAGE as usize) {
            self.tables.code_scanned(page);
        }
    }

    fn replace(&mut self, sites: Vec<Site>) {
        for site in sites {
            log::debug!("replaced {:02x?} at {:#x}", site.original, site.va);
            if self.ram.store(site.va, &[TRAP]) {
                self.patches.insert(site.va, site);
            }
        }
    }

    /// The guest's kernel is about to execute at `va`, which is `gpa`, in a page that it could
    /// write to until now: replaces what has to be replaced, and write-protects it.
    pub fn scan(&mut self, va: u64, gpa: u64) {
        // The rest of an instruction on the next page must not change unseen either: that page is
        // scanned along, and perhaps the one behind it.
        let (mut base, mut entry) = (va & !(PAGE - 1), gpa);
        let mut run = Vec::new();
        loop {
            let page = entry & !(PAGE - 1);
            self.restore(page, PAGE);
            self.tables.code_scanned(page);
            let sites = self.sites(base, entry);
            let next = Self::crosses(page, &sites)
                .then(|| self.translate_code(base.wrapping_add(PAGE)))
                .flatten();
            run.push((base, entry, sites));
            match next {
                Some(next) if !self.tables.is_code(next) => {
                    (base, entry) = (base.wrapping_add(PAGE), next);
                }
                _ => break,
            }
        }
        let last = run.len() - 1;
        for (n, (base, entry, mut sites)) in run.into_iter().enumerate().rev() {
            let page = entry & !(PAGE - 1);
            if n != last {
                // What has been replaced behind it may lie within an instruction of this page.
                sites = self.sites(base, entry);
            }
            if Self::crosses(page, &sites)
                && let Some(next) = self.translate_code(base.wrapping_add(PAGE))
            {
                self.tails.insert(next, page);
            }
            // An instruction that ends among those replaced here must be replaced as well: its page
            // is scanned again when it is next executed.
            let overlaps = |site: &Site| site.va < page + BEYOND as u64;
            if n == 0
                && sites.first().is_some_and(overlaps)
                && let Some(before) = self.translate_code(base.wrapping_sub(PAGE))
                && before != page
                && self.tables.is_code(before)
            {
                self.unscan(before);
            }
            self.replace(sites);
        }
    }

    /// Whether one of the `sites` in `page` ends on the next.
    fn crosses(page: u64, sites: &[Site]) -> bool {
        sites
            .iter()
            .any(|site| site.va + site.original.len() as u64 > page + PAGE)
    }

    /// What has to be replaced in the page mapped at `base`, where the kernel is about to execute at
    /// `entry`, a gpa.
    fn sites(&self, base: u64, entry: u64) -> Vec<Site> {
        let page = entry & !(PAGE - 1);
        let mut code = vec![0; PAGE as usize];
        if !self.ram.load(page, &mut code) {
            return Vec::new();
        }
        // What the next page holds of an instruction that begins in this one.
        let mut beyond = Vec::new();
        if let Some((next, bytes)) = self.code_at(base.wrapping_add(PAGE)) {
            code.extend(&bytes[..BEYOND]);
            let replaced = self.patches.within(next, BEYOND as u64);
            beyond.extend(replaced.map(|gpa| (gpa - next + PAGE) as usize));
        }
        let before = self.code_at(base.wrapping_sub(PAGE));
        let start = before.map_or(0, |(_, mut before)| {
            before.extend(&code[..BEYOND]);
            overhang(&before)
        });
        scan_page(&code, page, (entry % PAGE) as usize, start, &beyond)
    }

    /// Where kernel code at `va` lies.
    fn translate_code(&self, va: u64) -> Option<u64> {
        let access = Access {
            kind: Kind::Fetch,
            user: false,
        };
        let t = walk(&self.ram, self.tables.paging(), va, access).ok()?;
        Some(t.gpa)
    }

    /// The page of kernel code at `va`: where it lies, and what it holds as it was written; None if
    /// there is none.
    fn code_at(&self, va: u64) -> Option<(u64, Vec<u8>)> {
        let gpa = self.translate_code(va)?;
        let mut code = vec![0; PAGE as usize];
        self.ram.load(gpa, &mut code).then_some(())?;
        self.patches.undo(gpa, &mut code);
        Some((gpa, code))
    }

    /// Whether the instruction at `va` has been replaced.
    pub fn is_replaced(&self, va: u64) -> bool {
        self.translate_code(va)
            .is_some_and(|gpa| self.patches.within(gpa, 1).next().is_some())
    }

    /// The page at `gpa`, scanned code until now, is about to be written to; with it goes the page
    /// whose last instruction ends here.
    pub fn unscan(&mut self, gpa: u64) {
        let mut next = Some(gpa & !(PAGE - 1));
        while let Some(page) = next {
            next = self.tails.remove(&page);
            self.restore(page, PAGE);
            self.tables.code_written(page);
        }
    }

    /// Puts back what was replaced in `len` bytes at `gpa`.
    pub fn restore(&mut self, gpa: u64, len: u64) {
        for (gpa, site) in self.patches.remove(gpa, len) {
            let mut now = [0];
            if self.ram.load(gpa, &mut now) && now == [TRAP] {
                self.ram.store(gpa, &site.original[..1]);
            }
        }
    }
}
