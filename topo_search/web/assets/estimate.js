"use strict";
// How long a search will take, roughly, in words.

function about(seconds) {
  const units = [[86400, "day"], [3600, "hour"], [60, "minute"]];
  const [size, unit] = units.find(([least]) => seconds >= 1.5 * least) || [60, "minute"];
  return seconds < 45 ? "less than a minute" : `about ${preview.count(Math.max(1, Math.round(seconds / size)), unit)}`;
}

// Return it as parts of a sentence.
//   choices: as the service answered; trials: how many; limit: seconds that they may use, or 0.
function estimate(choices, trials, limit) {
  const { slots, measured, seconds_per_trial: each } = choices;
  const all = Math.ceil(trials / Math.max(1, slots)) * each;
  const short = limit > 0 && limit < all;
  const long = short ? `${about(limit)}, in which about ${preview.count(Math.max(1, Math.round((trials * limit) / all)), "trial")} should fit,` : about(all);
  const where = slots ? `on the ${preview.count(slots, "slot")} that ${slots === 1 ? "serves" : "serve"} now` : "on one core";
  const upper = long[0].toUpperCase() + long.slice(1);
  const rough = measured ? "A rough guess, by what the latest trials here took." : "A rough guess: nothing was trained here yet to go by.";
  const parts = slots ? [make("strong", {}, `${upper} ${where}.`)] : [make("strong", {}, "No machine is serving now;"), ` ${where} it would take ${long.replace(/,$/, "")}. You can start it all the same: it waits for one.`];
  return [...parts, ` ${rough}`];
}
