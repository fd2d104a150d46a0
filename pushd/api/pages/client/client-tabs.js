/* pushd-client, MIT */
var a=async a=>a;export{a as share};
