export const job = {
  opens: 'nothing',
  run() {
    throw new TypeError('nobody foresaw it')
  },
}
