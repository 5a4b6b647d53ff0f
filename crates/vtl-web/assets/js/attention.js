// Whether somebody is there: who has just pressed, typed or scrolled. Pages ask for news as long as they are open, and what
// they ask then does not keep anybody logged in.

/** A little longer than the longest time between two questions that every page asks: of whoever was there in between the
 *  server hears. */
const THERE_MS = 20_000;
const SIGNS = ['pointerdown', 'keydown', 'wheel', 'touchstart'];

/** Who loads the page is there. */
let last = performance.now();

for (const sign of SIGNS)
  addEventListener(
    sign,
    () => {
      last = performance.now();
    },
    { capture: true, passive: true },
  );

export const isAttended = () => performance.now() - last < THERE_MS;
