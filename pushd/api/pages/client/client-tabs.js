/* pushd client: https://en.wikipedia.org/wiki/MIT_License */
var i=async(e,t,r)=>t();export{i as share};
